from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import validation
from hepflows.errors import ConfigError, DataError, HepflowsError
from validation.gates import Gate
from validation.settings import Settings

QUICK = Settings(trainings=1, epochs=4, replicas=30)
NO_CLASSIFIER = Settings(trainings=0, replicas=30)


def test_perfect_generator_lies_at_the_floor_and_a_shifted_one_above(points, domain):
    result = validation.compare(
        points(2000, seed=1),
        {"good": points(1500, seed=2), "bad": points(800, seed=3, shift=0.5)},
        domain,
        settings=QUICK,
    )
    good, bad = result.samples["good"], result.samples["bad"]
    assert all(good[name].pull() < 4 for name in good if name.startswith(("separation", "w1", "auc")))
    assert bad["separation_a"].pull() > 5
    assert bad["separation_b"].pull() < 4
    assert bad["w1_a"].value == pytest.approx(0.5, abs=0.15)
    assert bad["a_mean"].value == pytest.approx(3.5 / 3, abs=4 * bad["a_mean"].error)
    assert bad["auc_all"].value > 0.6
    assert good["separation_a"].n == 1000  # half of the reference
    assert bad["separation_a"].n == 800  # all generated events
    assert good["separation_a"].floor != bad["separation_a"].floor


def test_floor_is_measured_between_disjoint_halves(points, domain):
    # every reference event has its own value: were a half compared with itself, the floor would be zero
    result = validation.compare(points(400, seed=1), points(200, seed=2), domain, settings=NO_CLASSIFIER)
    metrics = result.samples["generated"]
    assert metrics["w1_a"].floor > 0
    expected = np.sqrt(2 * 1.0 / 200)
    assert metrics["a_mean"].error == pytest.approx(expected / 3, rel=0.2)
    assert metrics["a_mean"].floor == pytest.approx(1, abs=5 * expected / 3)


def test_errors_of_ratios_have_the_right_size(points, domain):
    pulls = []
    for seed in range(30):
        result = validation.compare(
            points(400, seed=seed), points(200, seed=1000 + seed), domain, settings=NO_CLASSIFIER
        )
        metrics = result.samples["generated"]
        pulls += [(metrics[k].value - 1) / metrics[k].error for k in ("a_mean", "a_std", "b_bin_0", "b_bin_4")]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.3)


def test_json_form_is_stable(points, domain):
    result = validation.compare(points(300, seed=1), points(150, seed=2), domain, settings=QUICK)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(document) == {
        "schema", "domain", "passed", "n_reference", "n_generated", "wall_seconds", "samples", "settings",
        "gates", "cautions", "skipped", "unmeasured", "provenance", "default_gates", "baseline", "timing",
    }  # fmt: skip
    assert document["schema"] == "hepflows-report/1"
    assert document["domain"] == "points"
    assert (document["n_reference"], document["n_generated"]) == (300, 150)
    metrics = document["samples"]["generated"]
    assert set(metrics) == {
        "a_mean", "a_std", *(f"b_bin_{k}" for k in range(5)),
        *(f"{kind}_{name}" for kind in ("separation", "w1", "ks") for name in ("a", "b", "all")),
        "precision", "recall", "density", "coverage", "correlation_rms", "correlation_max",
        "separation_mean", "auc_all", "jsd_all", "auc_log", "jsd_log",
        *(f"{kind}_{name}" for kind in ("ece", "weights_high", "weights_low") for name in ("all", "log")),
        "auc_gbt", "driver_a", "driver_b",
        "duplicates", "near_duplicates",
    }  # fmt: skip
    for entry in metrics.values():
        assert {"value", "error", "floor", "floor_error", "n", "target"} <= set(entry)
    assert {"spread", "trainings", "preset", "mirrored", "n_train_per_class"} <= set(metrics["auc_log"])
    assert metrics["auc_log"]["mirrored"]
    assert not metrics["auc_all"]["mirrored"]
    assert document["settings"]["classifier"]["name"] == "quick"


def test_a_gate_on_an_unknown_metric_is_refused_before_any_classifier_is_trained(points, domain, monkeypatch):
    def train(*_args, **_kwargs):
        raise AssertionError("a classifier was trained")

    monkeypatch.setattr("validation.job.two_sample_test", train)
    samples = points(400, seed=1), points(200, seed=2)
    with pytest.raises(ConfigError, match="unknown metric"):
        validation.compare(*samples, domain, settings=Settings(trainings=1, gates={"w1_misspelt": Gate(max=1)}))
    for pattern in ("auc_*", "*", "w1_a", "separation_mean", "driver_a"):  # these may come, so training begins
        with pytest.raises(AssertionError):
            validation.compare(*samples, domain, settings=Settings(trainings=1, gates={pattern: Gate(max=1)}))


def test_gates_decide(points, domain):
    settings = Settings(trainings=0, gates={"separation_mean": Gate(k=1, m=3), "w1_a": Gate(max=0.2)})
    reference = points(1000, seed=1)
    assert validation.compare(reference, points(500, seed=2), domain, settings=settings).passed
    failed = validation.compare(reference, points(500, seed=2, shift=1.0), domain, settings=settings)
    assert not failed.passed
    entry = failed.to_json()["samples"]["generated"]["w1_a"]
    assert entry["passed"] is False
    assert entry["gate"] == 0.2


def test_same_seed_same_numbers(points, domain):
    arguments = points(300, seed=1), points(200, seed=2), domain
    first, second = (validation.compare(*arguments, settings=QUICK).to_json()["samples"] for _ in range(2))
    assert first == second


def test_paired_conditions_do_not_bias_the_classifier(points, domain):
    reference = points(1200, seed=1)
    paired = points(1200, seed=2, condition=reference.condition)
    metric = validation.compare(reference, paired, domain, settings=Settings(trainings=2, epochs=8)).samples[
        "generated"
    ]["auc_all"]
    assert abs(metric.value - 0.5) < 4 * metric.error


def test_weights_are_respected(points, domain):
    reference = points(2000, seed=1)
    generated = points(2000, seed=2, shift=0.5)
    weights = np.exp(-0.5 * (generated.x[:, 0] - 3) ** 2 + 0.5 * (generated.x[:, 0] - 3.5) ** 2)
    weighted = points(2000, seed=2, shift=0.5, weights=weights)
    plain, reweighted = (
        validation.compare(reference, sample, domain, settings=NO_CLASSIFIER).samples["generated"]
        for sample in (generated, weighted)
    )
    assert reweighted["a_mean"].value == pytest.approx(1, abs=4 * reweighted["a_mean"].error)
    assert reweighted["w1_a"].value < plain["w1_a"].value / 4
    assert reweighted["separation_a"].value < plain["separation_a"].value / 3


def test_options_reach_the_domain(points, domain):
    settings = Settings(trainings=0, options={"scale": 10.0})
    result = validation.compare(points(200, seed=1), points(100, seed=2), domain, settings=settings)
    assert result.domain_settings == {"scale": 10.0}
    with pytest.raises(ConfigError, match="unknown setting"):
        validation.compare(
            points(200, seed=1), points(100, seed=2), domain, settings=Settings(options={"threshold": 1.0})
        )


def test_undefined_observable_is_skipped_with_the_reason(points, domain):
    reference, generated = points(200, seed=1), points(100, seed=2)
    generated.x[:, 1] = np.nan
    result = validation.compare(reference, generated, domain, settings=NO_CLASSIFIER)
    assert "w1_b" not in result.samples["generated"]
    assert "generated/w1_b" in result.skipped
    assert result.samples["generated"]["separation_b"].value == 1  # undefined everywhere: fully separated


@pytest.mark.parametrize(
    ("n_reference", "n_generated", "message"),
    [(80, 100, "reference: too few"), (200, 20, "generated: too few")],
)
def test_too_few_events(points, domain, n_reference, n_generated, message):
    with pytest.raises(DataError, match=message):
        validation.compare(points(n_reference, seed=1), points(n_generated, seed=2), domain)


def test_bad_settings(points, domain):
    with pytest.raises(ConfigError, match="unknown validation preset"):
        Settings(preset="best")
    with pytest.raises(ConfigError, match="epochs"):
        Settings(epochs=0)
    reference, generated = points(200, seed=1), points(100, seed=2)
    with pytest.raises(ConfigError, match="unknown classifier inputs"):
        validation.compare(reference, generated, domain, settings=Settings(inputs=("voxels",)))
    with pytest.raises(ConfigError, match="nothing to compare"):
        validation.compare(reference, {}, domain)
    with pytest.raises(ConfigError, match="must not be called"):
        validation.compare(reference, {"reference": generated}, domain)
    generated.x[3, 0] = np.nan
    with pytest.raises(HepflowsError, match="not finite"):
        validation.compare(reference, generated, domain, settings=QUICK)


def test_public_names_resolve_and_stay():
    assert sorted(validation.__all__) == dir(validation)
    for name in validation.__all__:
        assert getattr(validation, name) is not None
    assert callable(validation.compare)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = validation.nonsense


def test_distances_of_the_reference_are_shown_with_and_without_training_events(points, domain):
    samples = points(400, seed=1), points(200, seed=2)
    for training in (None, points(300, seed=3)):
        views = validation.compare(*samples, domain, settings=NO_CLASSIFIER, training=training).views.nearest
        assert list(views) == ["reference", "generated"]
        assert all((view.to_training is None) == (training is None) for view in views.values())


@pytest.mark.parametrize("names", [["Geant4", "a"], ["Geant4", *(f"a_rather_long_name_{i}" for i in range(6))]])
def test_legends_fit_the_width_of_their_figure(points, domain, names):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from validation.plots import histogram_figure

    result = validation.compare(points(400, seed=1), points(200, seed=2), domain, settings=NO_CLASSIFIER)
    view = result.views.histograms[0]
    shares = dict.fromkeys(names, next(iter(view.shares.values())))
    errors = dict.fromkeys(names, next(iter(view.errors.values())))
    figure = histogram_figure([dataclasses.replace(view, shares=shares, errors=errors)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.legends[0].get_window_extent(canvas.get_renderer())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= figure.axes[0].get_window_extent().y1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainings": 7, "folds": 3}, "trainings: a k-fold test"),
        ({"trainings": 0, "folds": 5}, "folds: without trainings"),
        ({"trainings": 0, "inputs": ("all",)}, "inputs: without trainings"),
    ],
)
def test_settings_that_cancel_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        validation.Settings(**settings)


def test_a_preset_without_classifier_has_one_if_it_is_asked_for():
    assert validation.Settings(preset="jetnet").trainings == 0
    assert validation.Settings(preset="jetnet", epochs=9).classifier().epochs == 9
    assert validation.Settings(preset="jetnet", inputs=("low",)).trainings is None


def test_a_file_that_is_compared_with_itself_is_a_caution(points, domain):
    reference = points(400, seed=1)
    samples = {"same": reference, "other": points(400, seed=2)}
    cautions = validation.compare(reference, samples, domain, settings=validation.Settings(trainings=0)).cautions
    assert cautions == ("same: these are the events of the reference, and say nothing of a generator",)


def test_a_generated_reference_is_a_caution(domain, tmp_path):
    import calofast as cf

    showers = cf.read_showers(cf.embedded_showers_path(), first=200)
    generated = dataclasses.replace(showers, provenance={"generator": "hepflows 0.1.0 calofast student"})
    for reference, expected in ((showers, 0), (generated, 1)):
        found = validation.compare(
            reference.select(slice(0, 100)),
            showers.select(slice(100, 200)),
            cf.OBSERVABLES,
            settings=validation.Settings(trainings=0, replicas=5),
        )
        assert sum("the reference was generated, by hepflows" in text for text in found.cautions) == expected
