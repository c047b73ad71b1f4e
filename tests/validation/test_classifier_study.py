"""The classifier studies in a whole comparison: JSON, floors, pictures, table."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import validation
from hepflows.classifier_presets import PRESETS
from hepflows.errors import ConfigError
from validation.gates import Gate
from validation.learning_curve import learning_curve
from validation.settings import Settings


@pytest.fixture(scope="module")
def comparison(points, domain):
    invented = points(600, seed=3)
    invented.x[:60, 1] = 7.0 + 0.2 * (invented.x[60:120, 0] - 3)  # a tenth of the events is where the truth has none
    return validation.compare(
        points(1200, seed=1),
        {"good": points(600, seed=2), "bad": invented},
        domain,
        settings=Settings(
            trainings=2, epochs=6, replicas=10, inputs=("all",), learning_curve=True, gates={"auc_gbt": Gate(k=1, m=4)}
        ),
    )


def test_good_samples_are_at_the_floor_and_invented_events_in_the_tail(comparison):
    good, bad = comparison.samples["good"], comparison.samples["bad"]
    for name in ("auc_gbt", "weights_high_all", "weights_low_all", "ece_all", "log_posterior_good"):
        assert good[name].pull() < 4, name
    assert bad["weights_low_all"].value == pytest.approx(0.1, abs=4 * bad["weights_low_all"].error)
    assert bad["weights_low_all"].pull() > 2
    assert bad["log_posterior_bad"].value < good["log_posterior_good"].value + 0.02


def test_the_observable_that_is_wrong_leads_the_table(comparison):
    bad = comparison.samples["bad"]
    assert bad["driver_b"].details["rank"] == 1
    assert bad["driver_b"].details["difference"] > 3
    assert bad["driver_b"].value > bad["driver_a"].value + 0.2
    view = comparison.views.classifier.drivers[1]
    assert (view.sample, view.rows[0].name) == ("bad", "b")


def test_extreme_events_are_the_invented_ones(comparison):
    view = comparison.views.classifier.extremes[1]
    generated = [key for key in view.images if key.startswith("bad")]
    assert len(generated) == 2
    for key in generated:
        assert view.images[key][0].values[5].sum() > 0  # b between 6 and 8
        assert float(view.titles[key].removeprefix("w = ")) < 0.1


def test_json_and_report_hold_everything(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr("validation.report.DPI", 40)  # pictures take seconds
    out = comparison.write(tmp_path / "report")
    found = json.loads((out / "report.json").read_text())["samples"]["bad"]
    assert {f"learning_curve_all_1_of_{k}" for k in (2, 4, 8)} <= set(found)
    sizes = [found[f"learning_curve_all_1_of_{k}"]["n_train_per_class"] for k in (8, 4, 2)]
    assert [*sizes, found["auc_all"]["n_train_per_class"]] == [45, 90, 180, 360]
    assert {"floor", "floor_error", "if_calibrated", "inputs"} <= set(found["ece_all"])
    assert found["weights_low_all"]["threshold"] == 0.1
    assert found["auc_gbt"]["gate"] == pytest.approx(found["auc_gbt"]["floor"] - 0.5 + 4 * found["auc_gbt"]["error"])
    assert found["log_posterior_bad"]["classes"] == 3
    pictures = {path.stem for path in (out / "pictures").iterdir()}
    assert {"calibration", "weights", "learning_curve", "drivers", "extremes_0", "extremes_1"} <= pictures
    text = (out / "report.html").read_text()
    assert "What the classifier sees" in text
    assert text.count("KS, lowest w") == 2


def test_single_samples_need_no_posterior_and_no_classifier_no_study(points, domain):
    settings = Settings(epochs=2, replicas=5, inputs=("all",), folds=3)
    metrics = validation.compare(points(400, seed=1), points(200, seed=2), domain, settings=settings).samples[
        "generated"
    ]
    assert not any(name.startswith(("log_posterior", "learning_curve")) for name in metrics)
    assert metrics["auc_all"].details["folds"] == metrics["auc_all"].details["trainings"] == 3
    nothing = validation.compare(
        points(400, seed=1), points(200, seed=2), domain, settings=Settings(trainings=0, replicas=5)
    )
    assert not any(name.startswith(("auc", "driver", "ece", "weights")) for name in nothing.samples["generated"])
    with pytest.raises(ConfigError, match="folds"):
        Settings(folds=2)


def test_weighted_events_are_studied_too(points, domain):
    weighted = points(300, seed=2, weights=np.random.default_rng(0).uniform(0.5, 1.5, 300))
    result = validation.compare(
        points(600, seed=1), weighted, domain, settings=Settings(trainings=1, epochs=2, replicas=5, inputs=("all",))
    )
    assert np.isfinite(result.samples["generated"]["auc_gbt"].value)


def test_learning_curve_rises_towards_the_closed_form():
    # many features without information: a network with few events learns their noise
    rng = np.random.default_rng(0)
    reference, generated = rng.normal(size=(2, 2500, 12)).astype(np.float32)
    generated[:, 0] += 1.2
    preset = dataclasses.replace(PRESETS["quick"], hidden=(64,), epochs=3, trainings=1)
    points = learning_curve(reference, generated, preset, divisors=(32, 1))
    few, many = (p.result.summary("auc")[0] for p in points)
    assert [p.result.n_train_per_class for p in points] == [47, 1500]
    assert few < many - 0.02
    assert many == pytest.approx(0.802, abs=4 * points[1].result.auc_test_error)  # norm.cdf(1.2 / sqrt 2)
