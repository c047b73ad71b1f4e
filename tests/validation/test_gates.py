from __future__ import annotations

import math

import pytest

from hepflows.errors import ConfigError, DataError
from validation.gates import Gate, apply_gates, read_gates
from validation.metric import Metric


def auc(value, floor=0.5, error=0.01):
    return Metric(value=value, error=error, floor=floor, floor_error=0.01, n=100, target=0.5)


def ratio(value, error=0.01, floor=0.99):
    return Metric(value=value, error=error, floor=floor, floor_error=error, n=100, target=1.0, two_sided=True)


def test_relative_gate_reads_excess_over_floor_and_error():
    gate = Gate(k=1.0, m=3.0)
    assert gate.limit(auc(0.6, floor=0.52)) == pytest.approx(0.02 + 0.03)
    assert gate.passes(auc(0.549, floor=0.52))
    assert not gate.passes(auc(0.551, floor=0.52))


def test_ratios_count_both_ways():
    gate = Gate(max=0.02)
    assert gate.passes(ratio(0.985))
    assert not gate.passes(ratio(0.97))
    assert not gate.passes(ratio(1.03))


def test_the_larger_bound_counts():
    gate = Gate(max=0.03, m=3.0)
    assert gate.passes(ratio(1.04, error=0.02))
    assert gate.passes(ratio(1.029, error=0.001))
    assert not gate.passes(ratio(1.04, error=0.001))


def test_not_a_number_fails():
    assert not Gate(max=1.0).passes(auc(math.nan))


def test_pull_is_in_units_of_the_combined_error():
    assert auc(0.55, floor=0.52).pull() == pytest.approx(0.03 / math.hypot(0.01, 0.01))
    assert ratio(1.03).pull() == pytest.approx(3.0)


def test_patterns_and_unknown_metrics():
    samples = {"fast": {"auc_low": auc(0.5), "auc_high": auc(0.9)}}
    outcomes = apply_gates({"auc_*": Gate(max=0.1)}, samples)
    assert [(o.metric, o.passed) for o in outcomes] == [("auc_low", True), ("auc_high", False)]
    with pytest.raises(ConfigError, match="auc_lou"):
        apply_gates({"auc_lou": Gate(max=0.1)}, samples)


def test_gate_file(tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text('[gates]\nauc_low = { k = 1, m = 3 }\n"layer_*" = { max = 0.03, m = 3.0 }\n')
    assert read_gates(path) == {"auc_low": Gate(k=1.0, m=3.0), "layer_*": Gate(max=0.03, m=3.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gates\n", "TOML"),
        ("[gate]\na = 1\n", "no gates"),
        ("[gates]\na = { kk = 1 }\n", r"gates\.a: unknown key"),
        ("[gates]\na = { k = 'x' }\n", r"gates\.a\.k: not a number"),
        ("[gates]\na = 1\n", "a gate is a table"),
        ("[gates]\na = {}\n", "non-negative numbers"),
        ("[gates]\na = { max = -1 }\n", "non-negative numbers"),
    ],
)
def test_bad_gate_files(tmp_path, text, message):
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_gates(path)
    with pytest.raises(DataError, match="does not exist"):
        read_gates(tmp_path / "missing.toml")


def test_a_metric_that_only_the_reference_has_fails_its_gate():
    samples = {"fast": {"auc_low": auc(0.5)}}
    lost = {"fast": {"w1_tau21": "no jet has two constituents"}}
    for gates, defaults in (
        ({"w1_tau21": Gate(max=0.1)}, None),
        ({"w1_*": Gate(k=1.0)}, None),
        ({}, {"w1_*": Gate(max=0.1)}),
    ):
        (outcome,) = apply_gates(gates, samples, defaults, unmeasured=lost)
        assert (outcome.metric, outcome.passed, outcome.excess) == ("w1_tau21", False, math.inf)
        assert outcome.unmeasured == "no jet has two constituents"
    with pytest.raises(ConfigError, match="w1_tau32"):
        apply_gates({"w1_tau32": Gate(max=0.1)}, samples, unmeasured=lost)
