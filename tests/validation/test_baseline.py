from __future__ import annotations

import json
import math

import pytest

from hepflows.errors import ConfigError, DataError
from validation.baseline import Baseline, compare_with_baseline, read_baseline
from validation.metric import Metric


def distance(value, *, n=100, floor=0.1, error=0.01):
    return Metric(value=value, error=error, floor=floor, floor_error=error, n=n)


def ratio(value):
    return Metric(value=value, error=0.01, floor=1.0, floor_error=0.01, n=100, target=1.0, two_sided=True)


def coverage(value):
    return Metric(value=value, error=0.01, floor=0.55, floor_error=0.01, n=100, target=1.0, rising=True)


def older(**samples):
    entries = {s: {name: metric.to_json() for name, metric in metrics.items()} for s, metrics in samples.items()}
    return Baseline(name="old.json", domain="points", samples=entries)


def outcome(now, before, sigma=3.0):
    return compare_with_baseline(older(fast=before), {"fast": now}, domain="points", sigma=sigma)


def test_only_what_is_worse_beyond_the_errors_is_named():
    now = {"w1_a": distance(0.20), "w1_b": distance(0.13), "w1_c": distance(0.05), "a_mean": ratio(0.93)}
    before = {"w1_a": distance(0.10), "w1_b": distance(0.10), "w1_c": distance(0.10), "a_mean": ratio(1.01)}
    found = outcome(now, before)
    assert [worse.metric for worse in found.worse] == ["w1_a", "a_mean"]
    assert found.worse[0].worse_by == pytest.approx(0.10)
    assert found.worse[0].sigmas == pytest.approx(0.10 / math.hypot(0.01, 0.01))
    assert found.worse[1].worse_by == pytest.approx(0.06)
    assert (found.compared, found.passed) == (4, False)
    assert "w1_a is 0.2, was 0.1" in found.worse[0].text()


def test_sigma_decides():
    now, before = {"w1_a": distance(0.15)}, {"w1_a": distance(0.10)}  # 3.5 standard errors
    assert not outcome(now, before, sigma=3.4).passed
    assert outcome(now, before, sigma=3.6).passed


def test_larger_is_better_where_a_metric_says_so():
    assert outcome({"cov": coverage(0.60)}, {"cov": coverage(0.50)}).passed
    assert not outcome({"cov": coverage(0.50)}, {"cov": coverage(0.60)}).passed


def test_other_numbers_of_events_are_compared_over_the_floor():
    now = {"w1_a": distance(0.30, n=50, floor=0.29)}  # fewer events: everything is larger, the floor as well
    assert outcome(now, {"w1_a": distance(0.10)}).passed
    assert not outcome({"w1_a": distance(0.30, n=50, floor=0.20)}, {"w1_a": distance(0.10)}).passed
    assert not outcome({"w1_a": distance(0.30, n=100, floor=0.29)}, {"w1_a": distance(0.10)}).passed


def test_missing_and_new_metrics_are_no_failures():
    found = outcome({"new": distance(9.0)}, {"old": distance(0.1)})
    assert (found.compared, found.passed, found.missing) == (0, True, ("fast/old",))


def test_samples_are_found_by_name_or_because_they_are_alone():
    metrics = {"w1_a": distance(0.1)}
    assert older(teacher=metrics).sample_for("student", alone=True) == "teacher"
    assert older(teacher=metrics, student=metrics).sample_for("student", alone=False) == "student"
    for baseline in (older(teacher=metrics, student=metrics), older(teacher=metrics)):
        with pytest.raises(DataError, match="no such sample"):
            baseline.sample_for("onnx", alone=len(baseline.samples) > 1)


def test_other_events_and_senseless_sigmas_are_errors():
    metrics = {"w1_a": distance(0.1)}
    with pytest.raises(DataError, match="other events"):
        compare_with_baseline(older(fast=metrics), {"fast": metrics}, domain="jetgen", sigma=3)
    for sigma in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="baseline_sigma"):
            compare_with_baseline(older(fast=metrics), {"fast": metrics}, domain="points", sigma=sigma)


def test_reading(tmp_path):
    path = tmp_path / "report.json"
    good = {"schema": "hepflows-report/1", "domain": "points", "samples": {"a": {"w1": distance(0.1).to_json()}}}
    path.write_text(json.dumps(good))
    assert read_baseline(path).samples["a"]["w1"]["value"] == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a validation report"),
        ('{"schema": "hepflows-benchmark/1"}', "not a validation report"),
        ('{"schema": "hepflows-report/1"}', "no metrics"),
        ('{"schema": "hepflows-report/1", "samples": {"a": {"w1": 1}}}', "no metrics"),
        ('{"schema": "hepflows-report/1", "samples": {"a": {"w1": {"value": "1", "n": 5}}}}', "no metrics"),
        ('{"schema": "hepflows-report/1", "samples": {"a": {"w1": {"value": 1, "n": null}}}}', "no metrics"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_baseline(path)
    assert caught.value.exit_code == 2
    with pytest.raises(DataError, match="does not exist"):
        read_baseline(tmp_path / "missing.json")
