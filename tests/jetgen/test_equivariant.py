"""Permuting the constituents permutes the velocity; empty slots are invisible."""

from __future__ import annotations

import warnings

import pytest
import torch

from hepflows.precision import matmul_precision
from jetgen.equivariant import EquivariantVelocity, slots_filled

SLOTS = 7


@pytest.fixture
def field():
    torch.manual_seed(0)
    result = EquivariantVelocity(SLOTS, 2, width=16, blocks=2, heads=2).double()
    for parameter in result.parameters():  # away from the zeros that it starts with
        torch.nn.init.normal_(parameter, std=0.3)
    return result.eval()


@pytest.fixture
def inputs():
    rng = torch.Generator().manual_seed(1)
    draw = {"generator": rng, "dtype": torch.float64}
    multiplicity = torch.tensor([7.0, 5.0, 2.0, 1.0], dtype=torch.float64)
    context = torch.stack([torch.randn(4, **draw), 2 * multiplicity / SLOTS - 1], dim=1)
    return torch.randn(4, 3 * SLOTS, **draw), torch.rand(4, 1, **draw), context, multiplicity


def test_permutation_of_constituents(field, inputs):
    x, time, context, multiplicity = inputs
    order = torch.stack([
        torch.cat([torch.randperm(int(n)), torch.arange(int(n), SLOTS)]) for n in multiplicity
    ])  # fmt: skip
    index = order[:, :, None].expand(-1, -1, 3)
    permuted = x.reshape(4, SLOTS, 3).gather(1, index).flatten(1)
    expected = field(x, time, context).reshape(4, SLOTS, 3).gather(1, index).flatten(1)
    torch.testing.assert_close(field(permuted, time, context), expected, rtol=1e-10, atol=1e-12)
    assert (expected != field(x, time, context)).any()


def test_empty_slots_neither_move_nor_matter(field, inputs):
    x, time, context, multiplicity = inputs
    empty = torch.arange(SLOTS) >= multiplicity[:, None]
    velocity = field(x, time, context).reshape(4, SLOTS, 3)
    assert (velocity[empty] == 0).all()
    assert (velocity[~empty] != 0).any(-1).all()
    spoilt = x.reshape(4, SLOTS, 3) + 50 * empty[:, :, None]
    torch.testing.assert_close(field(spoilt.flatten(1), time, context).reshape(4, SLOTS, 3), velocity)


def test_time_and_conditions_matter(field, inputs):
    x, time, context, _ = inputs
    velocity = field(x, time, context)
    assert (field(x, 1 - time, context) != velocity)[0].all()
    assert (field(x, time, context + torch.tensor([1.0, 0.0])) != velocity)[0].all()


def test_constituents_see_each_other(field, inputs):
    x, time, context, _ = inputs
    moved = x.clone()
    moved[0, 0] += 1.0
    change = (field(moved, time, context) - field(x, time, context)).reshape(4, SLOTS, 3)
    assert (change[0] != 0).any(-1).all()
    assert (change[1:] == 0).all()


def test_every_parameter_gets_a_gradient(field, inputs):
    x, time, context, _ = inputs
    field(x, time, context).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in field.parameters())


def test_a_new_field_is_at_rest():
    fresh = EquivariantVelocity(SLOTS, 2, width=16, blocks=2, heads=2)
    assert (fresh(torch.randn(3, 3 * SLOTS), torch.rand(3, 1), torch.ones(3, 2)) == 0).all()


def test_slots_filled_counts():
    context = torch.stack([torch.zeros(SLOTS), 2 * torch.arange(1, SLOTS + 1) / SLOTS - 1], dim=1)
    filled = slots_filled(context, SLOTS, torch.float32)
    assert filled.sum(1).tolist() == list(range(1, SLOTS + 1))
    assert (filled[:, 1:] <= filled[:, :-1]).all()


def test_bfloat16_changes_the_velocity_by_its_rounding_alone(field, inputs):
    x, time, context = (values.float() for values in inputs[:3])
    single = field.float()
    expected = single(x, time, context)
    with matmul_precision("bfloat16"):
        half = single(x, time, context)
        with torch.no_grad():
            unchanged = single(x, time, context)
    assert half.dtype == torch.float32
    assert not torch.equal(half, expected)
    torch.testing.assert_close(half, expected, rtol=0.1, atol=0.1 * float(expected.detach().abs().max()))
    torch.testing.assert_close(unchanged, expected)


def test_a_recorded_graph_computes_the_same(field, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the recorder's own: that it will go, and that numbers become constants
        traced = torch.jit.trace(field, inputs[:3], check_trace=False)
    assert "layer_norm" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(*inputs[:3]), field(*inputs[:3]), rtol=1e-10, atol=1e-10)
