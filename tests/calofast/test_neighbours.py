"""Neighbouring cells: who is near whom, how cells are divided for couplings, and that couplings use both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calofast.config import CouplingConfig, SplineConfig
from calofast.geometry import calogan
from calofast.layer import Layer
from calofast.neighbours import Cells, arrangements, nearest
from calofast.voxel_coupling import voxel_couplings
from hepflows.coupling import SplineCoupling
from hepflows.errors import ConfigError, GeometryError
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation


def plane(name="a", nx=4, ny=5, pitch=10.0):
    return Layer(
        name=name,
        kind="regular",
        x_edges_mm=tuple(pitch * i for i in range(nx + 1)),
        y_edges_mm=tuple(pitch * i for i in range(ny + 1)),
    )


def made(layers, context, config, *, seed=2, **given):
    generator = torch.Generator().manual_seed(seed)
    return voxel_couplings(layers, context, config, dropout=0.0, generator=generator, **given)


def test_the_nearest_are_those_beside_and_then_those_across():
    cells = Cells.of([plane()])
    centre = 2 * 5 + 2
    others = np.delete(np.arange(20), centre)
    found = others[nearest(cells.take(np.array([centre])), cells.take(others), 8)[0]]
    assert set(found[:4]) == {centre - 1, centre + 1, centre - 5, centre + 5}
    assert set(found[4:]) == {centre - 6, centre - 4, centre + 4, centre + 6}


def test_one_in_four_comes_from_the_layers_in_front_and_behind():
    cells = Cells.of([plane("a"), plane("b"), plane("c"), plane("d")])
    found = nearest(cells, cells, 8)
    layers = cells.layer[found]
    own = layers == cells.layer[:, None]
    assert (own.sum(1) == 6).all()
    assert (np.abs(layers - cells.layer[:, None]) <= 1).all()
    assert (found[:, 0] == np.arange(80)).all()  # a cell is nearest to itself
    first = np.where(own, -1, found).max(1)  # of each cell the last one across: the same place one layer on
    assert (first[:20] - np.arange(20) >= 0).all()
    assert {int(place) for place in np.where(own[0], -1, found[0])} - {-1} <= {20, 21, 25}


def test_few_cells_in_a_layer_are_made_up_for_by_others():
    cells = Cells.of([plane("a", 1, 2), plane("b", 1, 1), plane("c", 3, 3)])
    found = nearest(cells, cells, 12)
    assert all(len(set(row)) == 12 for row in found)
    with pytest.raises(GeometryError, match="at most 12"):
        nearest(cells, cells, 13)


def test_rings_are_measured_across_the_seam():
    ring = Layer(name="a", kind="cylindrical", r_edges_mm=(0.0, 10.0, 20.0), n_alpha=16)
    cells = Cells.of([ring])
    outer = 2 * np.arange(16) + 1
    found = nearest(cells.take(outer[:1]), cells.take(outer[1:]), 2)[0]
    assert set(outer[1:][found]) == {outer[1], outer[15]}


def test_arrangements_come_in_pairs_that_exchange_the_halves():
    cells = Cells.of([plane("a", 4, 6), plane("b", 2, 3)])
    half = len(cells) // 2
    found = list(arrangements(cells, 8, torch.Generator().manual_seed(1)))
    for order in found:
        assert sorted(order.tolist()) == list(range(len(cells)))
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert torch.equal(one[:half], other[half:])
    assert torch.equal(found[0], found[4])
    assert not torch.equal(found[2], found[6])
    board = cells.odd[found[0].numpy()]
    assert not board[:half].any()
    assert board[half:].all()


def test_halves_drawn_at_random_have_no_chessboard():
    cells = Cells.of(calogan().layers)
    found = list(arrangements(cells, 8, torch.Generator().manual_seed(1), chessboard=False))
    assert len({tuple(order.tolist()) for order in found}) == 8
    for order in found:
        assert 0.3 < cells.odd[order[:252].numpy()].mean() < 0.7
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert torch.equal(one[:252], other[252:])


def test_the_configuration_chooses_the_halves():
    chess, drawn = (
        made([plane("a", 4, 6)], 1, CouplingConfig(blocks=2, width=4, halves=halves), seed=3)
        for halves in ("chessboard", "random")
    )
    assert not torch.equal(chess[0].index, drawn[0].index)


def test_on_the_chessboard_all_neighbours_are_on_the_other_side():
    cells = Cells.of(calogan().layers)
    order = next(arrangements(cells, 1, torch.Generator()))
    kept, moved = order[:252].numpy(), order[252:].numpy()
    found = kept[nearest(cells.take(moved), cells.take(kept), 2)]
    strips = moved < 288  # 3 x 96 strips, the last axis fine
    inner = strips & (moved % 96 > 0) & (moved % 96 < 95)
    assert {tuple(sorted(row)) for row in (found - moved[:, None])[inner].tolist()} == {(-1, 1)}


def _bent(config, layers, **given):
    couplings = made(layers, 3, config, **given)
    torch.manual_seed(3)
    for block in couplings:
        if isinstance(block, SplineCoupling):
            torch.nn.init.zeros_(block.conditioner.exit.weight)
            if block.local is not None:
                torch.nn.init.normal_(block.local.weight, std=0.5)
    return couplings


def _dependence(flow, x, context):
    """Which output depends on which input and which context, by finite differences."""
    with torch.no_grad():
        base = flow(x, context)[0]
        on_x = [(flow(x + 0.1 * row, context)[0] != base)[0] for row in torch.eye(x.shape[1], dtype=x.dtype)]
        on_c = [(flow(x, context + 0.1 * row)[0] != base)[0] for row in torch.eye(context.shape[1], dtype=x.dtype)]
    return torch.stack(on_x, 1), torch.stack(on_c, 1)


def test_a_voxel_follows_its_neighbours_and_no_one_else():
    layers = [plane("a", 3, 4), plane("b", 2, 2)]
    config = CouplingConfig(blocks=2, width=4, neighbours=3, spline=SplineConfig(bound=4.0))
    couplings = _bent(config, layers)
    first = ConditionalFlow(couplings[:2]).double().eval()  # a permutation and a coupling
    x, context = torch.randn(1, 16, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    on_x, on_c = _dependence(first, x, context)
    order = next(arrangements(Cells.of(layers), 1, torch.Generator()))
    cells = Cells.of(layers, first=1)
    near = nearest(cells.take(order[8:].numpy()), cells.take(order[:8].numpy()), 3)
    for row, moved in enumerate(order[8:].tolist()):
        sources = {int(order[place]) for place in near[row]}
        assert set(torch.nonzero(on_x[8 + row]).flatten().tolist()) == {moved} | sources
    assert not on_c.any()


def test_the_layer_in_front_is_found_in_the_context():
    layer = plane("b", 2, 3)
    config = CouplingConfig(blocks=2, width=4, neighbours=9, spline=SplineConfig(bound=4.0))
    couplings = made([layer], 2 + 6, config, front=plane("a", 2, 3), front_at=2)
    block = next(part for part in couplings if isinstance(part, SplineCoupling))
    assert block.local is not None
    places = set(block.local.index.flatten().tolist())
    assert places == {0, 1, 2} | {3 + 2 + place for place in range(6)}  # the kept half, no condition, all of the front


def test_no_neighbours_are_wanted_or_there_are_few():
    none = made([plane()], 1, CouplingConfig(blocks=2, neighbours=0))
    assert all(block.local is None for block in none if isinstance(block, SplineCoupling))
    few = made([plane("a", 2, 2)], 1, CouplingConfig(blocks=2, neighbours=16))
    assert [block.local.index.shape for block in few if isinstance(block, SplineCoupling)] == [(2, 2), (2, 2)]
    with pytest.raises(ConfigError, match="two blocks"):
        made([plane()], 1, CouplingConfig.model_construct(blocks=1, neighbours=0))


@pytest.mark.parametrize("blocks", [2, 5, 6])
def test_permutations_lead_from_one_arrangement_to_the_next(blocks):
    layers = [plane("a", 3, 5), plane("b", 2, 2)]
    couplings = made(layers, 0, CouplingConfig(blocks=blocks, width=4), seed=7)
    expected = list(arrangements(Cells.of(layers), blocks, torch.Generator().manual_seed(7)))
    x = torch.arange(19.0)[None]
    for block in couplings:
        if isinstance(block, Permutation):
            x, _ = block(x)
        else:
            assert torch.equal(x[0].long(), expected.pop(0))
    assert not expected
    assert torch.equal(x, torch.arange(19.0)[None])
