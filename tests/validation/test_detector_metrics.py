from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest

import validation
from hepflows.observable import Image, Observable, Profile, Response
from validation.detector_plots import detector_figures
from validation.gallery import gallery
from validation.settings import Settings

CENTRES = np.array([0.5, 1.5, 2.5, 3.5])


@dataclass(frozen=True, kw_only=True)
class Hits:
    truth: np.ndarray
    layers: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self):
        return len(self.truth)

    def select(self, index):
        return Hits(truth=self.truth[index], layers=self.layers[index])


class Detector:
    """Four layers that share the signal of a calorimeter."""

    name = "detector"
    noun = "hits"
    reference_label = "truth"
    inputs = ("all",)
    ratios = ()

    def profiled(self, events):
        return ()

    def configured(self, options):
        return self

    def settings(self, events):
        return {}

    def compatible(self, reference, generated):
        pass

    def cautions(self, reference, generated):
        return ()

    def condition(self, events):
        return events.truth[:, None]

    def binning(self, events):
        return Observable(name="e", label="E", unit="GeV", group="condition", values=events.truth)

    def observables(self, events):
        total = events.layers.sum(1)
        return (Observable(name="ratio", label="S/E", unit="", group="All", values=total / events.truth),)

    def classifier_inputs(self, events, *, preset, inputs):
        return events.layers.astype(np.float32)

    def mirrors(self, events, *, inputs):
        return ()

    def images(self, events):
        corners = np.arange(3.0)
        x, y = np.meshgrid(corners, corners)
        labels = {"x_label": "x", "y_label": "y", "value_label": "E"}
        values = events.layers.mean(0).reshape(2, 2)
        return (Image(name="plane", title="plane", x_corners=x, y_corners=y, values=values, **labels),)

    def response(self, events):
        profile = Profile(
            name="longitudinal", label="layer", value_label="E", unit="", edges=np.arange(5.0), values=events.layers
        )
        return Response(
            truth=events.truth,
            signal=events.layers.sum(1),
            truth_label="E",
            signal_label="S",
            unit="GeV",
            profiles=(profile,),
        )


def shoot(n, *, seed, a=0.2, scale=1.0, centre=1.6, common=0.0, truth=None):
    """`centre`: where in depth the energy lies; `common`: fluctuation that all layers share."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(5, 100, n) if truth is None else np.full(n, truth)
    shares = np.exp(-0.5 * (CENTRES - centre) ** 2)
    noise = rng.normal(size=(n, 4)) + common * rng.normal(size=(n, 1))
    layers = truth[:, None] * shares / shares.sum() * (scale + a / np.sqrt(truth)[:, None] * noise)
    return Hits(truth=truth, layers=np.maximum(layers, 0))


@pytest.fixture(scope="module")
def result():
    samples = {
        "good": shoot(2000, seed=2),
        "scaled": shoot(2000, seed=3, scale=1.1),
        "smeared": shoot(2000, seed=4, a=0.4),
        "deep": shoot(2000, seed=5, centre=2.0),
        "shared": shoot(2000, seed=6, common=1.0),
    }
    return validation.compare(shoot(4000, seed=1), samples, Detector(), settings=Settings(trainings=0))


def test_each_fault_shows_in_its_metric_and_a_perfect_detector_in_none(result):
    names = (
        "response_slope", "response_offset", "resolution_sampling", "resolution_constant", "longitudinal_w1",
        "longitudinal_maximum", "longitudinal_contained_90", "layer_correlations",
        *(f"{which}_bin_{k}" for which in ("response", "resolution") for k in range(10)),
        *(f"layer_correlations_bin_{k}" for k in range(3)),
    )  # fmt: skip
    good = result.samples["good"]
    assert set(names) <= set(good)
    for name in names:
        assert good[name].pull() < 4, name
        assert good[name].floor is not None
    guilty = {
        "scaled": ("response_slope", "response_bin_0", "response_bin_9"),
        "smeared": ("resolution_sampling", "resolution_bin_0"),
        "deep": ("longitudinal_w1", "longitudinal_maximum", "longitudinal_contained_90"),
        "shared": ("layer_correlations", "layer_correlations_bin_2"),
    }
    for sample, metrics in guilty.items():
        for name in metrics:
            assert result.samples[sample][name].pull() > 5, (sample, name)
    assert result.samples["scaled"]["longitudinal_w1"].pull() < 4
    assert result.samples["scaled"]["response_slope"].value == pytest.approx(1.1, abs=0.005)
    sampling = result.samples["smeared"]["resolution_sampling"]
    assert sampling.error < 0.2
    assert sampling.value == pytest.approx(2, abs=4 * sampling.error)
    assert result.samples["shared"]["layer_correlations"].value == pytest.approx(0.5, abs=0.06)
    assert result.samples["deep"]["longitudinal_maximum"].value == pytest.approx(0.35, abs=0.1)
    assert result.samples["deep"]["layer_correlations"].pull() < 4


def test_json_states_both_sides(result):
    entry = json.loads(json.dumps(result.to_json(), allow_nan=False))["samples"]["smeared"]["resolution_sampling"]
    assert entry["unit"] == "sqrt(GeV)"
    assert entry["target"] == 1
    assert entry["value"] == pytest.approx(entry["sample"] / entry["reference"])
    assert 0 < entry["reference_error"] < 0.1 * entry["reference"]
    shares = np.exp(-0.5 * (CENTRES - 1.6) ** 2)
    expected = 0.2 * np.sqrt((shares**2).sum()) / shares.sum()  # four independent layers
    assert entry["reference"] == pytest.approx(expected, abs=4 * entry["reference_error"])
    bins = result.samples["good"]
    assert bins["response_bin_0"].details["high"] == bins["response_bin_1"].details["low"]


def test_pictures(result):
    pictures = {p.key: p for p in gallery(result.views, reference_label="truth", noun="hits")}
    assert {"resolution", "mean_profile_0", "layer_correlations"} <= set(pictures)
    assert len(pictures["layer_correlations"].figure.axes) == 6 * (3 + 1)  # three ranges and a colour scale a sample
    legend = pictures["resolution"].figure.axes[1].get_legend().get_texts()
    fit = result.views.detector.resolution["smeared"].values[0]
    smeared = next(text.get_text() for text in legend if text.get_text().startswith("smeared"))
    assert float(smeared.split("a = ")[1].split()[0]) == pytest.approx(100 * fit, rel=0.05)


def test_one_energy_has_a_resolution_but_no_fit():
    result = validation.compare(
        shoot(400, seed=1, truth=20.0), shoot(200, seed=2, truth=20.0), Detector(), settings=Settings(trainings=0)
    )
    metrics = result.samples["generated"]
    assert metrics["resolution_bin_0"].pull() < 4
    assert "resolution_sampling" not in metrics
    assert "generated/resolution_sampling" in result.skipped
    assert "generated/response_offset" in result.skipped
    for key, _, _, figure in detector_figures(result.views.detector, {"reference": "truth", "generated": "fast"}):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=20)
        assert buffer.tell() > 1000, key
