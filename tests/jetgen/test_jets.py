"""The container of jets: what it refuses, and that its views keep jets whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepflows.errors import DataError, UnitsError
from jetgen.jets import Jets
from jetgen.reading import embedded_jets_path, read_jets

ARRAYS = ("eta_rel", "phi_rel", "pt_rel", "mask", "jet_pt_gev", "jet_eta", "jet_phi", "jet_mass_gev")


def as_sets(jets):
    """Constituents of each jet, whatever their order."""
    return [sorted(map(tuple, rows[mask].tolist())) for rows, mask in zip(jets.particles, jets.mask, strict=True)]


def test_types_and_derived_numbers(make_jets):
    jets = make_jets(50, n_slots=6)
    assert len(jets) == 50
    assert jets.n_slots == 6
    assert [getattr(jets, name).dtype for name in ARRAYS] == [np.float32] * 3 + [np.bool_] + [np.float32] * 4
    assert jets.n_constituents_all.dtype == np.int64
    assert np.array_equal(jets.multiplicity, (jets.pt_rel > 0).sum(axis=1))
    assert np.array_equal(jets.particles[..., 2], jets.pt_rel)
    assert jets.particles.shape == (50, 6, 3)
    assert jets.mass_rel.dtype == np.float64
    assert np.all((jets.mass_rel > 0) == (jets.multiplicity > 1))
    assert set(jets.conditions) == {"mass", "multiplicity"}
    assert jets.mass_rel is jets.mass_rel, "computed once"
    with pytest.raises(dataclasses.FrozenInstanceError):
        jets.kind = "g"


def test_the_mass_of_two_constituents(make_jets):
    two = make_jets(30, n_slots=2, min_constituents=2)
    eta, phi, pt = (array.astype(np.float64) for array in (two.eta_rel, two.phi_rel, two.pt_rel))
    angles = 2 * np.sinh((eta[:, 0] - eta[:, 1]) / 2) ** 2 + 2 * np.sin((phi[:, 0] - phi[:, 1]) / 2) ** 2
    assert np.allclose(two.mass_rel, np.sqrt(2 * pt.prod(axis=1) * angles), rtol=1e-12)


def test_lists_and_other_types_are_taken():
    jets = Jets(
        eta_rel=[[0.1, 0.0]], phi_rel=[[0, 0]], pt_rel=[[1, 0]], mask=[[1.0, 0.0]], n_constituents_all=np.array([1.0])
    )
    assert jets.mask.tolist() == [[True, False]]
    assert jets.n_constituents_all.tolist() == [1]
    assert jets.jet_pt_gev is None
    assert jets.known_features == ("n_constituents_all",)


def put(name, index, value):
    def change(arrays):
        arrays[name] = np.array(arrays[name], dtype=np.float64)
        arrays[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("eta_rel", (3, 1), np.nan), "eta_rel, jet 3, slot 1: value is not finite"),
        (put("pt_rel", (2, 0), np.inf), "pt_rel, jet 2, slot 0: value is not finite"),
        (put("phi_rel", (2, 0), 1e300), "phi_rel, jet 2, slot 0: value is not finite"),
        (put("pt_rel", (4, 1), -0.1), r"pt_rel, jet 4, slot 1: negative pT[\s\S]*-0.1"),
        (put("phi_rel", (1, 0), 3.2), "phi_rel, jet 1, slot 0: impossible difference of angles"),
        (put("eta_rel", (1, 1), -21.0), "eta_rel, jet 1, slot 1: impossible difference of angles"),
        (put("mask", (0, 0), 0.5), r"mask, jet 0, slot 0: neither 0 nor 1[\s\S]*0.5"),
        (put("mask", (0, 0), np.nan), "mask, jet 0, slot 0: neither 0 nor 1"),
        (put("mask", (3, 1), 0.0), r"jet 3, slot 1: an empty slot holds a value[\s\S]*exactly 0"),
        (put("mask", 2, 0.0), "mask, jet 2: a jet without constituents"),
        (put("jet_pt_gev", 4, 0.0), "jet_pt_gev, jet 4: pT must be positive"),
        (put("jet_pt_gev", 4, np.nan), "jet_pt_gev, jet 4: value is not finite"),
        (put("jet_eta", 1, -np.inf), "jet_eta, jet 1: value is not finite"),
        (put("jet_phi", 1, 90.0), "jet_phi, jet 1: impossible azimuth"),
        (put("jet_mass_gev", 1, -5.0), "jet_mass_gev, jet 1: negative mass"),
        (put("weights", 0, np.nan), "weights, jet 0: value is not finite"),
        (put("n_constituents_all", 1, 2.5), "n_constituents_all, jet 1: not a whole number"),
        (put("n_constituents_all", 1, 1), r"jet 1: fewer constituents are stated[\s\S]*at least 2"),
        (put("n_constituents_all", 1, 9), r"jet 1: constituents are missing though slots are empty[\s\S]*exactly 2"),
    ],
)
def test_impossible_values_name_jet_and_slot(make_jets, change, message):
    jets = make_jets(5, n_slots=3, min_constituents=2, weights=np.ones(5))
    arrays = {name: getattr(jets, name) for name in (*ARRAYS, "weights", "n_constituents_all")}
    arrays = {name: values.copy() for name, values in arrays.items()}
    arrays["mask"][1] = [True, True, False]
    for name in ARRAYS[:3]:
        arrays[name][1, 2] = 0.0
    arrays["n_constituents_all"] = arrays["mask"].sum(axis=1)
    Jets(**arrays)
    change(arrays)
    with pytest.raises(DataError, match=message):
        Jets(**arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eta_rel": np.zeros((5, 4))}, r"eta_rel: wrong shape[\s\S]*\(5, 3\)[\s\S]*\(5, 4\)"),
        ({"mask": np.ones(5, dtype=bool)}, r"mask: wrong shape[\s\S]*\(N, P\)"),
        ({"mask": np.ones((5, 0), dtype=bool)}, "mask: wrong shape"),
        ({"mask": np.full((5, 3), "yes")}, "mask: not an array of booleans"),
        ({"pt_rel": np.full((5, 3), "high")}, "pt_rel: not an array of numbers"),
        ({"pt_rel": [[1.0], [1.0, 2.0]]}, "pt_rel: not an array of numbers"),
        ({"jet_pt_gev": np.ones(4)}, r"jet_pt_gev: wrong shape[\s\S]*\(5,\)"),
        ({"jet_eta": np.ones((5, 1))}, "jet_eta: wrong shape"),
        ({"n_constituents_all": ["many"] * 5}, "n_constituents_all: not an array of numbers"),
    ],
)
def test_wrong_shapes_and_types(make_jets, change, message):
    jets = make_jets(5, n_slots=3)
    with pytest.raises(DataError, match=message):
        dataclasses.replace(jets, **change)


def test_degrees_are_an_error_of_units(make_jets):
    jets = make_jets(20, min_constituents=3)
    with pytest.raises(UnitsError, match="radians"):
        dataclasses.replace(jets, phi_rel=np.degrees(jets.phi_rel))


def test_more_constituents_than_slots_are_no_error(make_jets):
    jets = make_jets(3, n_slots=2, min_constituents=2, n_constituents_all=[2, 30, 500])
    assert jets.n_constituents_all.tolist() == [2, 30, 500]


def test_small_negative_masses_of_other_programs_are_kept(make_jets):
    assert make_jets(2, jet_mass_gev=[-1e-3, 5.0]).jet_mass_gev[0] < 0


# --- order and number of constituents


@given(seed=st.integers(0, 2**32 - 1), n_slots=st.integers(1, 9))
def test_ordering_keeps_jets_whole(make_jets, seed, n_slots):
    rng = np.random.default_rng(seed)
    jets = make_jets(6, n_slots=n_slots, seed=seed)
    shuffle = rng.permuted(np.tile(np.arange(n_slots), (6, 1)), axis=1)
    mixed = dataclasses.replace(
        jets, **{name: np.take_along_axis(getattr(jets, name), shuffle, axis=1) for name in ARRAYS[:4]}
    )
    again = mixed.ordered()
    assert again.is_ordered
    assert as_sets(again) == as_sets(jets) == as_sets(mixed)
    assert np.array_equal(again.pt_rel, jets.pt_rel)
    assert np.allclose(mixed.mass_rel, jets.mass_rel, rtol=1e-13)
    assert np.array_equal(mixed.multiplicity, jets.multiplicity)


def test_ordered_jets_are_left_alone(make_jets):
    jets = make_jets(6)
    assert jets.is_ordered
    assert jets.ordered() is jets


def test_a_filled_slot_after_an_empty_one_is_not_ordered():
    jets = Jets(eta_rel=[[0, 0.1]], phi_rel=[[0, 0]], pt_rel=[[0, 0.0]], mask=[[False, True]])
    assert not jets.is_ordered
    assert jets.ordered().mask.tolist() == [[True, False]]


@pytest.mark.parametrize("n_slots", [1, 3, 8])
def test_hardest_constituents(make_jets, n_slots):
    jets = make_jets(40)
    fewer = jets.hardest(n_slots)
    assert fewer.n_slots == n_slots
    assert np.array_equal(fewer.pt_rel, jets.pt_rel[:, :n_slots])
    assert np.array_equal(fewer.multiplicity, np.minimum(jets.multiplicity, n_slots))
    assert np.array_equal(fewer.n_constituents_all, jets.n_constituents_all)
    assert np.all(fewer.mass_rel <= jets.mass_rel * (1 + 1e-12))


def test_more_slots_need_the_softer_constituents(make_jets):
    jets = make_jets(6, n_constituents_all=None)
    more = jets.hardest(12)
    assert more.n_slots == 12
    assert as_sets(more) == as_sets(jets)
    cut = make_jets(6, n_slots=3, min_constituents=3, n_constituents_all=[3, 3, 9, 3, 3, 3])
    with pytest.raises(DataError, match=r"jet 2: the softer constituents of these jets are not stored[\s\S]*1 jet"):
        cut.hardest(4)
    with pytest.raises(DataError, match="number of constituents must be positive"):
        cut.hardest(0)


# --- parts of a sample


@pytest.mark.parametrize("index", [slice(3, None, 2), [5, 1, 1], np.arange(9) % 2 == 0, []])
def test_select(make_jets, index):
    jets = make_jets(9, weights=np.arange(9.0))
    part = jets.select(index)
    rows = np.arange(9)[index if isinstance(index, slice) else np.asarray(index, dtype=None if len(index) else int)]
    for name in (*ARRAYS, "weights", "n_constituents_all", "mass_rel", "multiplicity"):
        assert np.array_equal(getattr(part, name), getattr(jets, name)[rows]), name
    assert part.kind == "t"


def test_select_refuses_a_mask_of_another_length(make_jets):
    with pytest.raises(DataError, match="wrong shape of a selection"):
        make_jets(4).select(np.ones(3, dtype=bool))


def test_split_is_random_reproducible_and_complete(make_jets):
    jets = make_jets(200)
    first, second = jets.split(0.7, seed=3)
    assert (len(first), len(second)) == (140, 60)
    again, _ = jets.split(0.7, seed=3)
    other, _ = jets.split(0.7, seed=4)
    assert np.array_equal(first.jet_pt_gev, again.jet_pt_gev)
    assert not np.array_equal(first.jet_pt_gev, other.jet_pt_gev)
    assert sorted([*first.jet_pt_gev, *second.jet_pt_gev]) == sorted(jets.jet_pt_gev)
    order = np.flatnonzero(np.isin(jets.jet_pt_gev, first.jet_pt_gev))
    assert np.array_equal(first.jet_pt_gev, jets.jet_pt_gev[order]), "the order of the file is kept"
    assert order[:140].tolist() != list(range(140))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 0.001, np.nan])
def test_split_leaves_jets_in_both_parts(make_jets, fraction):
    with pytest.raises(DataError, match="both parts"):
        make_jets(10).split(fraction, seed=1)


def test_concatenate(make_jets):
    jets = make_jets(9, weights=np.arange(9.0))
    again = Jets.concatenate([jets.select(slice(0, 4)), jets.select([]), jets.select(slice(4, None))])
    for name in (*ARRAYS, "weights", "n_constituents_all"):
        assert np.array_equal(getattr(again, name), getattr(jets, name)), name
    assert again.kind == "t"
    assert Jets.concatenate([jets, dataclasses.replace(jets, kind="g")]).kind is None


def test_concatenate_refuses_what_does_not_fit(make_jets):
    with pytest.raises(DataError, match="no jets to concatenate"):
        Jets.concatenate([])
    with pytest.raises(DataError, match=r"part 1: jets with different numbers of slots[\s\S]*8[\s\S]*4"):
        Jets.concatenate([make_jets(2), make_jets(2, n_slots=4)])
    with pytest.raises(DataError, match="part 2: jet_pt_gev is given for some jets only"):
        Jets.concatenate([make_jets(2), make_jets(2), make_jets(2, jet_pt_gev=None)])


# --- the jets that come with the package


def test_embedded_jets_are_what_their_note_says():
    jets = read_jets(embedded_jets_path())
    assert len(jets) == 8000
    assert jets.n_slots == 30
    assert jets.kind == "t"
    assert jets.is_ordered
    assert embedded_jets_path().stat().st_size < 4e6
    assert 800 <= jets.jet_pt_gev.min() <= jets.jet_pt_gev.max() <= 1600
    assert np.mean(jets.multiplicity < 30) == pytest.approx(0.0154, abs=1e-4)
    assert jets.pt_rel.sum(axis=1).mean() == pytest.approx(0.918, abs=5e-4)
    assert np.median(jets.mass_rel) == pytest.approx(0.127, abs=5e-4)
    assert np.median(jets.mass_rel / (jets.jet_mass_gev / jets.jet_pt_gev)) == pytest.approx(0.854, abs=5e-4)
    assert "39995" not in jets.provenance["selection"]
    # the two masses of a top quark and of a W boson
    share, edges = np.histogram(jets.jet_mass_gev, bins=np.arange(60.0, 200.0, 5.0))
    assert 165 <= edges[np.argmax(share)] <= 180
