from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calofast.geometry import Geometry, calochallenge, calogan, calogan_hits
from calofast.layer import Layer
from calofast.voxelise import Hits, voxelise
from hepflows.errors import DataError, GeometryError

UNEVEN = Geometry(
    "uneven",
    (
        Layer(name="a", kind="regular", x_edges_mm=(-3, -1, 0, 5), y_edges_mm=(-2, 4), z_mm=(0, 1)),
        Layer(name="b", kind="cylindrical", r_edges_mm=(1, 2, 6), n_alpha=4, z_mm=(1, 3)),
        Layer(name="c", kind="cylindrical", r_edges_mm=(0, 4), n_alpha=1, z_mm=(4, 5)),
    ),
)


def oracle(hits, geometry):
    """The same sums by numpy's histograms, shower by shower and layer by layer."""
    n = len(hits.offsets) - 1
    voxels = np.zeros((n, geometry.n_voxels))
    overflow = np.zeros((n, geometry.n_layers))
    for entry in range(n):
        part = slice(hits.offsets[entry], hits.offsets[entry + 1])
        for i, (layer, cells) in enumerate(zip(geometry.layers, geometry.layer_slices, strict=True)):
            here = hits.layer[part] == i
            x, y, energy = (values[part][here] for values in (hits.x_mm, hits.y_mm, hits.energy))
            axes = (x, y) if layer.kind == "regular" else (np.arctan2(y, x), np.hypot(x, y))
            sums, _ = np.histogramdd(np.column_stack(axes), bins=layer.edges, weights=energy)
            voxels[entry, cells] = sums.reshape(-1)
            overflow[entry, i] = energy.sum() - sums.sum()
    return voxels, overflow


def random_hits(rng, n_showers, n_hits, geometry, *, on_edges=False):
    counts = rng.multinomial(n_hits, np.full(n_showers, 1 / n_showers))
    x, y = rng.uniform(-7, 7, (2, n_hits))
    if on_edges:
        x, y = np.round(x), np.round(y)
    return Hits(
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        x_mm=x,
        y_mm=y,
        energy=rng.exponential(1.0, n_hits),
        layer=rng.integers(0, geometry.n_layers, n_hits),
    )


@settings(deadline=None, max_examples=50)  # the first example compiles
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 5), st.booleans())
def test_agrees_with_numpy_histograms(seed, n_hits, n_showers, on_edges):
    hits = random_hits(np.random.default_rng(seed), n_showers, n_hits, UNEVEN, on_edges=on_edges)
    voxels, overflow = voxelise(hits, UNEVEN)
    wanted = oracle(hits, UNEVEN)
    assert voxels.dtype == overflow.dtype == np.float32
    assert np.allclose(voxels, wanted[0], rtol=1e-6, atol=1e-9)
    assert np.allclose(overflow, wanted[1], rtol=1e-5, atol=1e-9)


def test_every_cell_centre_falls_into_its_cell():
    for geometry in (calogan(), calogan_hits(), calochallenge("dataset_2"), calochallenge("pions")):
        n = geometry.n_voxels
        hits = Hits(
            offsets=np.arange(n + 1),
            x_mm=geometry.x_mm,
            y_mm=geometry.y_mm,
            energy=np.ones(n),
            layer=geometry.layer_index,
        )
        sample = np.random.default_rng(0).choice(n, 200)
        voxels, overflow = voxelise(hits, geometry)
        assert np.array_equal(np.argmax(voxels[sample], axis=1), sample)
        assert voxels.sum() == n
        assert not overflow.any()


def test_layer_from_z_and_overflow_of_the_nearest_layer_before():
    z = np.array([-1.0, 0.0, 0.5, 1.0, 2.9, 3.5, 4.0, 5.0, 6.0])
    wanted = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    inside = np.array([False, True, True, True, True, False, True, True, False])
    hits = Hits(offsets=np.arange(10), x_mm=np.full(9, 1.5), y_mm=np.zeros(9), z_mm=z, energy=np.ones(9))
    voxels, overflow = voxelise(hits, UNEVEN)
    for entry, (layer, seen) in enumerate(zip(wanted, inside, strict=True)):
        assert voxels[entry, UNEVEN.layer_slices[layer]].sum() == float(seen)
        assert overflow[entry, layer] == float(not seen)


def test_layers_without_depth_need_hit_layer():
    hits = Hits(offsets=np.array([0, 1]), x_mm=np.ones(1), y_mm=np.ones(1), z_mm=np.ones(1), energy=np.ones(1))
    with pytest.raises(GeometryError, match="layers of the hits cannot be told"):
        voxelise(hits, calochallenge("photons"))


def test_layers_that_overlap_are_refused():
    first, *others = UNEVEN.layers
    geometry = Geometry("overlapping", (replace(first, z_mm=(0, 2)), *others))
    hits = Hits(offsets=np.array([0, 1]), x_mm=np.ones(1), y_mm=np.ones(1), z_mm=np.ones(1), energy=np.ones(1))
    with pytest.raises(GeometryError, match=r"overlapping: a, b: layers overlap in z[\s\S]*give hit_layer"):
        voxelise(hits, geometry)
    touching = Geometry("touching", (replace(first, z_mm=(0, 1 + 1e-9)), *others))
    assert voxelise(hits, touching)[0].shape == (1, UNEVEN.n_voxels)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x_mm", np.nan, "hit_x is not finite"),
        ("energy", np.inf, "hit_energy is not finite"),
        ("energy", -1.0, "negative energy of a hit"),
        ("layer", 3, r"hit_layer is not in 0 \.\.\. 2"),
    ],
)
def test_bad_hits_are_refused_with_their_place(field, value, message):
    arrays = {name: np.ones(6) for name in ("x_mm", "y_mm", "energy")} | {"layer": np.zeros(6, dtype=np.int64)}
    arrays[field][4] = value
    with pytest.raises(DataError, match=f"entry 1, hit 2: {message}"):
        voxelise(Hits(offsets=np.array([0, 2, 6]), **arrays), UNEVEN)


def test_empty_showers_stay_empty():
    none = np.zeros(0)
    hits = Hits(offsets=np.zeros(3, dtype=np.int64), x_mm=none, y_mm=none, z_mm=none, energy=none)
    voxels, overflow = voxelise(hits, calogan())
    assert voxels.shape == (2, 504)
    assert not voxels.any()
    assert not overflow.any()
