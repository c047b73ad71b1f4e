from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest

import validation
from hepflows.errors import ConfigError, DataError
from jetgen.classifier_inputs import feature_matrix
from jetgen.energy_flow import PHYSICS_GRAPHS
from jetgen.observables import OBSERVABLES, mass_deviation
from jetgen.reading import embedded_jets_path, read_jets
from validation.domain import Drawn, Measured
from validation.gallery import gallery
from validation.matching import coverage_and_matching
from validation.plots import style
from validation.settings import Settings


@pytest.fixture(scope="module")
def tops():
    return read_jets(embedded_jets_path(), first=1200)


def asked(jets, factor):
    wanted = (jets.mass_rel * factor).astype(np.float32)
    return dataclasses.replace(jets, mass_condition=wanted)


def test_observables_have_one_row_a_jet_and_stable_names(make_jets):
    jets = make_jets(60, n_slots=10)
    found = {o.name: o for o in OBSERVABLES.observables(jets)}
    assert list(found) == [
        "mass_rel", "multiplicity", "pt_sum", "width", "dispersion", "tau1", "tau2", "tau3", "tau21", "tau32",
        "efp_star", "efp_chain_end", "efp_chain_middle", "efp_triangle", "efp_square",
        "eta_rel", "phi_rel", "pt_rel",
        "pt_rel_rank_1", "pt_rel_rank_2", "pt_rel_rank_3", "pt_rel_rank_5", "pt_rel_rank_10",
    ]  # fmt: skip
    assert all(len(o.values) == 60 for o in found.values())
    assert set(OBSERVABLES.ratios) | set(OBSERVABLES.profiled(jets)) <= set(found)
    np.testing.assert_array_equal(found["mass_rel"].values, jets.mass_rel)
    np.testing.assert_array_equal(np.isnan(found["pt_rel_rank_5"].values), jets.multiplicity < 5)


def test_each_multiplicity_has_a_bin_of_its_own(make_jets):
    edges = next(o.edges for o in OBSERVABLES.observables(make_jets(20, n_slots=10)) if o.name == "multiplicity")
    np.testing.assert_allclose(0.5 * (edges[1:] + edges[:-1]), np.arange(1, 11))


def test_empty_slots_are_undefined(make_jets):
    jets = make_jets(50, n_slots=6)
    for observable in OBSERVABLES.observables(jets):
        if observable.values.ndim == 2:
            np.testing.assert_array_equal(np.isfinite(observable.values), jets.mask)


def test_measures_are_the_published_ones(make_jets):
    jets = make_jets(40, n_slots=6)
    measures = {name: m for m in OBSERVABLES.measures(jets) for name in m.names}
    assert list(measures) == [
        "w1m", "w1p", "w1efp", "cov", "mmd", "fpd", "kpd", "frechet_tagger", "mass_relative_error_max"
    ]  # fmt: skip
    assert measures["fpd"].values.shape == (40, len(PHYSICS_GRAPHS)) == (40, 36)
    assert measures["w1efp"].values.shape == (40, 5)
    np.testing.assert_array_equal(np.isfinite(measures["w1p"].values).all(2), jets.mask)
    np.testing.assert_array_equal(measures["mmd"].values, jets.particles)
    assert isinstance(OBSERVABLES, Measured)
    assert isinstance(OBSERVABLES, Drawn)


def test_deviation_from_the_mass_that_was_asked_for(make_jets):
    jets = make_jets(30, n_slots=6, min_constituents=2)
    assert np.isnan(mass_deviation(jets)).all()
    np.testing.assert_allclose(mass_deviation(asked(jets, 1.25)), -0.2, atol=1e-6)
    nothing = dataclasses.replace(jets, mass_condition=np.zeros(30))
    assert np.isnan(mass_deviation(nothing)).all()


def test_condition_is_the_mass_that_was_asked_for(make_jets):
    jets = make_jets(30, n_slots=6)
    np.testing.assert_array_equal(OBSERVABLES.condition(jets), np.stack([jets.mass_rel, jets.multiplicity], axis=1))
    np.testing.assert_array_equal(OBSERVABLES.condition(asked(jets, 2.0))[:, 0], asked(jets, 2.0).mass_condition)


def test_classifier_inputs(make_jets):
    jets = make_jets(80, n_slots=7)
    features = OBSERVABLES.classifier_inputs(jets, preset="quick", inputs="all")
    assert features.shape == (80, 4 * 7 + 15)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 30
    slots = features[:, :28].reshape(80, 7, 4)
    np.testing.assert_array_equal(slots[..., 3], jets.mask)
    assert (slots[~jets.mask] == 0).all()
    with pytest.raises(ConfigError, match="unknown classifier inputs"):
        OBSERVABLES.classifier_inputs(jets, preset="quick", inputs="low")


def test_classifier_inputs_do_not_see_the_order_in_the_file(make_jets):
    jets = make_jets(40, n_slots=7)
    order = np.random.default_rng(0).permutation(7)
    names = ("eta_rel", "phi_rel", "pt_rel", "mask")
    mixed = dataclasses.replace(jets, **{name: getattr(jets, name)[:, order] for name in names})
    np.testing.assert_allclose(feature_matrix(mixed), feature_matrix(jets), rtol=1e-5, atol=1e-5)


def test_mean_image_holds_all_pt_inside(make_jets):
    jets = make_jets(100, n_slots=8)
    (image,) = OBSERVABLES.images(jets)
    inside = (np.abs(jets.eta_rel) < 0.5) & (np.abs(jets.phi_rel) < 0.5)
    assert image.values.sum() == pytest.approx((jets.pt_rel * inside).sum() / 100, rel=1e-5)
    weighted = dataclasses.replace(jets, weights=np.arange(100) == 3)
    (image,) = OBSERVABLES.images(weighted)
    assert image.values.sum() == pytest.approx((jets.pt_rel * inside)[3].sum(), rel=1e-5)


def test_discs_are_the_constituents(make_jets):
    jets = make_jets(5, n_slots=8)
    for i, disc in enumerate(OBSERVABLES.discs(jets)):
        assert len(disc.x) == len(disc.y) == jets.multiplicity[i]
        assert disc.sizes.sum() == pytest.approx(jets.pt_rel[i].sum(), rel=1e-6)
        assert f"n = {jets.multiplicity[i]}" in disc.title


def test_what_cannot_be_compared_is_refused(make_jets):
    jets = make_jets(20, n_slots=8)
    with pytest.raises(DataError, match="numbers of slots"):
        OBSERVABLES.compatible(jets, make_jets(20, n_slots=9))
    with pytest.raises(DataError, match="different kinds"):
        OBSERVABLES.compatible(jets, dataclasses.replace(jets, kind="g"))
    OBSERVABLES.compatible(jets, dataclasses.replace(jets, kind=None))
    with pytest.raises(ConfigError, match="unknown setting"):
        OBSERVABLES.configured({"threshold_mev": 1.0})
    assert OBSERVABLES.configured({}) is OBSERVABLES


def test_cautions(make_jets):
    jets = make_jets(300, n_slots=8)
    assert OBSERVABLES.cautions(jets, asked(jets, 1.0)) == ()
    assert "conditions" in OBSERVABLES.cautions(jets, asked(jets, 2.0))[0]
    assert "does not say" in OBSERVABLES.cautions(jets, dataclasses.replace(jets, kind=None))[0]


def test_comparison_of_packaged_jets(tops, monkeypatch):
    few = functools.partial(coverage_and_matching, batches=2)  # ten take their time
    monkeypatch.setattr("validation.sample_metrics.coverage_and_matching", few)
    rng = np.random.default_rng(0)
    generated = tops.select(slice(800, 1200))
    blurred = dataclasses.replace(
        generated, eta_rel=generated.eta_rel * (1 + 0.3 * rng.normal(size=generated.mask.shape)).astype(np.float32)
    )
    result = validation.compare(
        tops.select(slice(0, 800)),
        {"held_out": asked(generated, 1.0), "blurred": blurred},
        OBSERVABLES,
        settings=Settings(trainings=1, epochs=4, replicas=10),
    )
    good, bad = result.samples["held_out"], result.samples["blurred"]
    keys = {"w1m", "w1p", "w1efp", "cov", "mmd", "fpd", "kpd", "frechet_tagger", "auc", "jsd"}
    assert keys | {"mass_relative_error_max"} <= set(good)
    assert keys <= set(bad)
    assert "mass_relative_error_max" not in bad
    assert good["mass_relative_error_max"].value < 1e-6
    for name in keys:
        assert good[name].pull() < 5, name
        assert np.isfinite(good[name].error), name
    assert max(bad[name].pull() for name in ("w1m", "frechet_tagger", "auc", "separation_tau3")) > 5
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["domain"] == "jetgen"
    with style():
        pictures = {picture.key for picture in gallery(result.views, reference_label="Pythia", noun="jets")}
    assert {"examples", "average", "jets_0", "jet_shapes_0", "constituents_by_rank_0", "classifier"} <= pictures
