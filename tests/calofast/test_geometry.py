from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calofast.geometry import Geometry, calochallenge, calogan, calogan_hits
from calofast.layer import Layer
from hepflows.errors import GeometryError

BUILT_IN = [
    calogan(),
    calogan_hits(),
    *(calochallenge(n) for n in ("photons", "pions", "dataset_2", "dataset_3")),
]


@st.composite
def layers(draw, name="layer_0"):
    steps = st.lists(st.floats(0.5, 20.0), min_size=1, max_size=4)
    if draw(st.booleans()):
        x, y = (np.cumsum([draw(st.floats(-50, 50)), *draw(steps)]) for _ in range(2))
        return Layer(name=name, kind="regular", x_edges_mm=tuple(x), y_edges_mm=tuple(y))
    r = np.cumsum([draw(st.floats(0, 5)), *draw(steps)])
    return Layer(name=name, kind="cylindrical", r_edges_mm=tuple(r), n_alpha=draw(st.integers(1, 6)))


@st.composite
def geometries(draw):
    n = draw(st.integers(1, 4))
    return Geometry("random", tuple(draw(layers(name=f"layer_{i}")) for i in range(n)))


@pytest.mark.parametrize(
    ("name", "n_voxels", "n_layers"),
    [("photons", 368, 5), ("pions", 533, 7), ("dataset_2", 6480, 45), ("dataset_3", 40500, 45)],
)
def test_calochallenge_numbers_of_voxels(name, n_voxels, n_layers):
    geometry = calochallenge(name)
    assert (geometry.n_voxels, geometry.n_layers) == (n_voxels, n_layers)
    assert geometry.layer_index.shape == geometry.r_mm.shape == (n_voxels,)


def test_calogan_cells_are_those_of_the_paper():
    geometry = calogan()
    assert geometry.layer_sizes == (288, 144, 72)
    assert geometry.n_voxels == 504
    sizes = [(np.diff(x)[0], np.diff(y)[0]) for x, y in (layer.edges for layer in geometry.layers)]
    assert sizes == [(160.0, 5.0), (40.0, 40.0), (40.0, 80.0)]
    assert np.isclose(geometry.volumes_mm3.sum(), 480.0**3)


def test_regular_cells_run_fastest_in_y():
    strips = calogan().layers[0]
    assert np.array_equal(strips.x_mm.reshape(3, 96)[:, 0], [-160.0, 0.0, 160.0])
    assert np.allclose(strips.y_mm.reshape(3, 96)[0], np.arange(-237.5, 240.0, 5.0))


def test_cylindrical_cells_run_fastest_in_r_and_alpha_starts_at_minus_pi():
    layer = calochallenge("dataset_2").layers[0]
    alpha = np.arctan2(layer.y_mm, layer.x_mm).reshape(16, 9)
    assert np.allclose(alpha, alpha[:, :1])
    assert np.allclose(alpha[:, 0], -math.pi + (np.arange(16) + 0.5) * math.pi / 8)
    assert np.allclose(layer.r_mm.reshape(16, 9)[0], 4.65 * (np.arange(9) + 0.5))


def test_rings_without_angular_bins_lie_on_the_eta_axis():
    layer = calochallenge("photons").layers[0]
    assert np.array_equal(layer.x_mm, layer.r_mm)
    assert np.array_equal(layer.y_mm, np.zeros(8))


def test_areas_fill_the_disc_and_the_square():
    assert np.isclose(calochallenge("photons").layers[1].areas_mm2.sum(), math.pi * 200.0**2)
    assert np.isclose(calogan().layers[2].areas_mm2.sum(), 480.0**2)


def test_volumes_need_the_depth():
    with pytest.raises(GeometryError, match=r"layer_0\.z_mm: the layer's depth is not known"):
        _ = calochallenge("photons").volumes_mm3


def test_pixels_of_10_mm_are_not_cut_by_calogan_hits():
    for layer in calogan_hits().layers:
        for edges in layer.edges:
            assert np.array_equal(np.mod(edges, 10.0), np.zeros(len(edges)))


@pytest.mark.parametrize("geometry", BUILT_IN, ids=lambda g: g.name)
def test_built_in_mirrors_map_positions(geometry):
    mirrors = geometry.mirrors()
    assert set(mirrors) == {"mirror_x", "mirror_y"}
    # A ring without angular bins has no position in alpha: its cells map to themselves.
    split = np.concatenate(
        [np.full(layer.n_voxels, layer.shape[0] > 1 or layer.kind == "regular") for layer in geometry.layers]
    )
    x, y = geometry.x_mm, geometry.y_mm
    for name, signs in (("mirror_x", (-1, 1)), ("mirror_y", (1, -1))):
        image = mirrors[name]
        assert np.allclose(x[image][split], signs[0] * x[split])
        assert np.allclose(y[image][split], signs[1] * y[split])
        assert np.allclose(geometry.areas_mm2[image], geometry.areas_mm2)


@given(geometries())
def test_mirrors_are_involutions_within_layers(geometry):
    for image in geometry.mirrors().values():
        assert np.array_equal(image[image], np.arange(geometry.n_voxels))
        assert np.array_equal(geometry.layer_index[image], geometry.layer_index)
        assert np.allclose(geometry.r_mm[image], geometry.r_mm)


def test_mirrors_that_do_not_exist_are_left_out():
    shifted = Layer(name="a", kind="regular", x_edges_mm=(-1, 0, 2), y_edges_mm=(-1, 1))
    assert set(Geometry("g", (shifted,)).mirrors()) == {"mirror_y"}
    odd = Layer(name="a", kind="cylindrical", r_edges_mm=(0, 1), n_alpha=3)
    assert set(Geometry("g", (odd,)).mirrors()) == {"mirror_y"}


@given(geometries())
def test_json_round_trip(geometry):
    assert Geometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_compared_by_value_and_hashable():
    assert calogan() == calogan()
    assert hash(calogan()) == hash(calogan())
    assert calogan() != calogan_hits()
    assert calogan().same_cells(Geometry("other name", calogan().layers))
    assert not calogan().same_cells(calogan_hits())


@given(geometries(), st.data())
def test_voxel_label_names_the_layer(geometry, data):
    voxel = data.draw(st.integers(0, geometry.n_voxels - 1))
    layer = geometry.layers[geometry.layer_index[voxel]]
    label = geometry.voxel_label(voxel)
    first, second = map(int, label[len(layer.name) + 1 : label.index("]")].split(","))
    start = geometry.layer_slices[geometry.layer_index[voxel]].start
    assert label.startswith(f"{layer.name}[")
    assert start + np.ravel_multi_index((first, second), layer.shape) == voxel


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.pop("layers"), r"geometry\.layers"),
        (lambda d: d.update(colour="red"), r"geometry\.colour"),
        (lambda d: d["layers"][1].update(x_edges_mm=[0, 2, 1]), r"geometry\.layers\[1\].*x_edges_mm"),
        (lambda d: d["layers"][1].update(y_edges_mm="wide"), r"geometry\.layers\[1\]\.y_edges_mm"),
        (lambda d: d["layers"][2].update(kind="hexagonal"), r"geometry\.layers\[2\]\.kind"),
        (lambda d: d["layers"][0].update(n_alpha=3), r"geometry\.layers\[0\]\.n_alpha"),
        (lambda d: d["layers"][0].update(z_mm=[1.0]), r"geometry\.layers\[0\]\.z_mm"),
        (lambda d: d["layers"].__setitem__(0, 7), r"geometry\.layers\[0\]"),
    ],
)
def test_bad_json_is_refused_with_its_path(change, where):
    document = json.loads(json.dumps(calogan().to_dict()))
    change(document)
    with pytest.raises(GeometryError, match=where):
        Geometry.from_dict(document)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "regular", "x_edges_mm": (0,), "y_edges_mm": (0, 1)},
        {"kind": "regular", "x_edges_mm": (0, math.nan), "y_edges_mm": (0, 1)},
        {"kind": "regular", "x_edges_mm": (0, 1), "y_edges_mm": (0, 1), "n_alpha": 2},
        {"kind": "cylindrical", "r_edges_mm": (-1, 1), "n_alpha": 1},
        {"kind": "cylindrical", "r_edges_mm": (0, 1), "n_alpha": 0},
        {"kind": "cylindrical", "r_edges_mm": (0, 1), "n_alpha": 1, "z_mm": (1, 0)},
        {"kind": "conical"},
    ],
)
def test_impossible_layers_are_refused(fields):
    with pytest.raises(GeometryError, match="layer_7"):
        Layer(name="layer_7", **fields)


def test_geometry_needs_layers_with_different_names():
    with pytest.raises(GeometryError, match="at least one layer"):
        Geometry("empty", ())
    with pytest.raises(GeometryError, match="same name"):
        Geometry("twice", (calogan().layers[0],) * 2)
    with pytest.raises(GeometryError, match="photons, pions"):
        calochallenge("electrons")
