from __future__ import annotations

import pytest

import validation
from hepflows.classifier_presets import PRESETS
from hepflows.errors import ConfigError
from validation.gates import Gate, apply_gates
from validation.metric import Metric
from validation.settings import Settings
from validation.suites import SUITES


def metric(value):
    return Metric(value=value, error=0.01, floor=0.0, floor_error=0.01, n=100)


def test_default_gates_pass_over_what_was_not_measured_and_the_first_pattern_counts():
    defaults = {"w1_special": Gate(max=1.0), "w1_*": Gate(max=0.1), "absent": Gate(max=0.1)}
    found = apply_gates({}, {"fast": {"w1_special": metric(0.5), "w1_a": metric(0.5), "other": metric(9)}}, defaults)
    assert [(o.metric, o.passed) for o in found] == [("w1_special", True), ("w1_a", False)]


def test_own_gates_replace_default_ones():
    found = apply_gates({"w1_a": Gate(max=1.0)}, {"fast": {"w1_a": metric(0.5)}}, {"w1_*": Gate(max=0.1)})
    assert [(o.metric, o.limit, o.passed) for o in found] == [("w1_a", 1.0, True)]
    with pytest.raises(ConfigError, match="unknown metric"):
        apply_gates({"absent": Gate(max=1.0)}, {"fast": {"w1_a": metric(0.5)}}, {"w1_*": Gate(max=0.1)})


def test_presets_decide_classifier_replicas_and_gates():
    assert set(SUITES) == {"quick", "full", "caloflow", "calochallenge", "jetnet"}
    for name, suite in SUITES.items():
        settings = Settings(preset=name)
        assert settings.replicas == suite.replicas
        assert settings.classifier().hidden == PRESETS[suite.classifier or "quick"].hidden
        assert suite.gates
    assert Settings(preset="quick").trainings is None
    assert Settings(preset="jetnet").trainings == 0
    assert Settings(preset="jetnet", trainings=2).trainings == 2
    assert Settings(replicas=7).replicas == 7
    assert Settings(preset=PRESETS["caloflow"]).classifier() == PRESETS["caloflow"]


def test_points_pass_and_distorted_points_fail(points, domain):
    settings = Settings(trainings=0, replicas=50, default_gates=True)
    result = validation.compare(
        points(1500, seed=1),
        {"good": points(700, seed=2), "bad": points(700, seed=3, shift=0.5)},
        domain,
        settings=settings,
    )
    failed = {(gate.sample, gate.metric) for gate in result.gates if not gate.passed}
    assert {sample for sample, _ in failed} == {"bad"}
    assert {"w1_a", "separation_a", "a_mean"} <= {name for _, name in failed}
    document = result.to_json()
    assert document["gates"] == {}
    assert document["default_gates"]["w1_*"]["m"] == SUITES["quick"].gates["w1_*"].m
    assert document["settings"]["preset"] == "quick"


def test_learning_curve_belongs_to_the_full_preset_unless_told_otherwise():
    chosen = {preset: Settings(preset=preset).learning_curve for preset in SUITES}
    assert chosen == {name: name == "full" for name in SUITES}
    assert Settings(preset="full", learning_curve=False).learning_curve is False
    assert Settings(learning_curve=True).learning_curve is True
