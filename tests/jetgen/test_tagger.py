from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from jetgen.reading import embedded_jets_path, read_jets
from jetgen.tagger import N_ACTIVATIONS, frozen_tagger, tagger_activations, tagger_path, tagger_provenance
from validation.frechet import frechet_samples

NAMES = ("eta_rel", "phi_rel", "pt_rel", "mask")


@pytest.fixture(scope="module")
def tops():
    return read_jets(embedded_jets_path(), first=1500)


def test_order_of_constituents_does_not_matter(make_jets):
    jets = make_jets(60, n_slots=9)
    order = np.random.default_rng(0).permutation(9)
    mixed = dataclasses.replace(jets, **{name: getattr(jets, name)[:, order] for name in NAMES})
    np.testing.assert_allclose(tagger_activations(mixed), tagger_activations(jets), atol=2e-4)


def test_empty_slots_and_batches_do_not_matter(make_jets):
    jets = make_jets(700, n_slots=9, n_constituents_all=None)
    found = tagger_activations(jets)
    assert found.shape == (700, N_ACTIVATIONS)
    np.testing.assert_allclose(tagger_activations(jets.hardest(20)), found, atol=2e-4)
    np.testing.assert_allclose(tagger_activations(jets.select(slice(600, 650))), found[600:650], atol=2e-4)


def test_only_the_hardest_thirty_count(make_jets):
    jets = make_jets(20, n_slots=50, n_constituents_all=None)
    np.testing.assert_array_equal(tagger_activations(jets), tagger_activations(jets.hardest(30)))


def test_packaged_top_jets_are_told_right(tops):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        logits = frozen_tagger()(*(torch.from_numpy(getattr(tops, name)) for name in NAMES))
    assert (logits.argmax(1) == 2).double().mean() > 0.75


def test_activations_are_scaled(tops):
    found = tagger_activations(tops)
    assert np.abs(found.mean(0)).max() < 2  # tops are one of three classes that the scale was made from
    assert 0.2 < found.std(0).mean() < 2


def test_frechet_distance_sees_lost_correlations_and_rotations_little(tops):
    first, second = tops.select(slice(0, 750)), tops.select(slice(750, 1500))
    cos, sin = math.cos(2.0), math.sin(2.0)
    turned = dataclasses.replace(
        second, eta_rel=cos * second.eta_rel - sin * second.phi_rel, phi_rel=sin * second.eta_rel + cos * second.phi_rel
    )
    rng = np.random.default_rng(0)
    mixed = np.sort(rng.permuted(np.arange(750)[:, None].repeat(tops.n_slots, 1), axis=0), axis=0)
    rows = rng.permuted(mixed, axis=0)
    columns = np.arange(tops.n_slots)
    broken = dataclasses.replace(
        second,
        eta_rel=np.where(second.mask, second.eta_rel[rows, columns], 0),
        phi_rel=np.where(second.mask, second.phi_rel[rows, columns], 0),
    )
    reference = tagger_activations(first)
    floor, turned_by, broken_by = (
        frechet_samples(reference, tagger_activations(jets), replicas=0, seed=0)[0] for jets in (second, turned, broken)
    )
    assert broken_by > 20 * floor
    assert turned_by < 3 * floor


def test_weights_are_small_and_say_where_they_come_from():
    assert tagger_path().stat().st_size < 2**20
    provenance = tagger_provenance()
    assert provenance["classes"] == ["g", "q", "t"]
    assert provenance["part"] == "0:0.8 of each file"
    assert provenance["held_out_accuracy"] > 0.75
    text = tagger_path().with_name("tagger.md").read_text()
    assert f"{100 * provenance['held_out_accuracy']:.1f} %" in text
