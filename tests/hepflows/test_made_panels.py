from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from hepflows import panels as panels_module
from hepflows.made import MADE, MaskedLinear, hidden_degrees
from hepflows.panels import masked_linear, panels_of


@pytest.fixture
def many_panels(monkeypatch):
    """Panels in small layers too, so that tests need no large ones."""
    monkeypatch.setattr(panels_module, "_WEIGHTS_A_PANEL", 1)


def staircase(rows, columns, generator):
    reach = torch.randint(0, columns + 1, (rows,), generator=generator).sort().values
    return (torch.arange(columns) < reach[:, None]).double()


def mask_of(kind, rows, columns, generator):
    if kind == "staircase":
        return staircase(rows, columns, generator)
    if kind == "any":
        return (torch.rand(rows, columns, generator=generator) < 0.5).double()
    return torch.full((rows, columns), float(kind == "ones"), dtype=torch.float64)


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 40),
    columns=st.integers(1, 30),
    batch=st.integers(0, 9),
    kind=st.sampled_from(["staircase", "any", "ones", "zeros"]),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_those_of_the_masked_product(seed, rows, columns, batch, kind):
    generator = torch.Generator().manual_seed(seed)
    mask = mask_of(kind, rows, columns, generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels_module, "_WEIGHTS_A_PANEL", 1)
        panels = panels_of(mask)
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((batch, columns), (rows, columns), (rows,))
    )
    ours = masked_linear(x, weight, bias, mask, panels)
    theirs = linear(x, weight * mask, bias)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn(theirs.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight, bias), upstream),
        torch.autograd.grad(theirs, (x, weight, bias), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_masked_weights_have_no_effect_and_no_gradient(many_panels):
    generator = torch.Generator().manual_seed(0)
    layer = MaskedLinear(staircase(30, 20, generator)).double()
    assert len(layer.panels) > 1
    x = torch.randn(5, 20, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.weight += 1e3 * (1 - layer.mask)
    after = layer(x)
    after.square().sum().backward()
    assert torch.equal(before, after)
    assert (layer.weight.grad[layer.mask == 0] == 0).all()


def test_not_a_number_in_masked_weights_is_without_effect_outside_of_the_staircases_steps(many_panels):
    layer = MaskedLinear(torch.ones(8, 8).tril(-1))
    with torch.no_grad():
        layer.weight[0, 7] = float("nan")
    assert layer(torch.ones(2, 8))[:, 1:].isfinite().all()


@pytest.mark.parametrize("degrees", ["even", "sequential"])
@pytest.mark.parametrize(("features", "hidden"), [(1, [4]), (2, [3]), (7, [5, 5]), (9, [20, 13, 16]), (30, [8])])
def test_output_d_depends_on_inputs_before_d_only(features, hidden, degrees, many_panels):
    torch.manual_seed(0)
    made = MADE(features, 3, hidden, 4, degrees=degrees).double()
    for layer in (*made.hidden, made.output):
        torch.nn.init.normal_(layer.weight)
    x, context = torch.randn(6, features, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: made(v, context).sum(0), x)
    depends = (jacobian.abs().sum(2) > 0).any(1)  # (features out, features in)
    allowed = torch.ones(features, features).tril(-1) > 0
    assert not (depends & ~allowed).any()
    # ... and every input that a hidden unit can see conditions what comes behind it
    seen = min(int(unit.max()) for unit in made.unit_degrees)
    if degrees == "sequential" and min(hidden) >= features - 1:
        assert depends[1:, :seen].any(0).all()


def test_even_degrees_reach_all_inputs_and_ascend():
    degrees = hidden_degrees(504, 378, "even")
    assert degrees.min() == 1
    assert degrees.max() == 502
    assert (degrees.diff() >= 0).all()


def test_large_layers_skip_nearly_half_of_the_products():
    made = MADE(504, 4, [256, 256], 23)
    layer = made.output
    work = sum((panel.stop - panel.start) * panel.reach for panel in layer.panels)
    assert work < 0.6 * layer.weight.numel()


def test_second_derivatives_and_transforms(many_panels):
    generator = torch.Generator().manual_seed(0)
    layer = MaskedLinear(staircase(6, 5, generator)).double()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))
    expected = linear(x, layer.masked_weight(), layer.bias)
    torch.testing.assert_close(torch.func.vmap(layer)(x), expected)
    rows = torch.func.vmap(torch.func.jacrev(layer))(x)
    torch.testing.assert_close(rows, layer.masked_weight().expand(3, -1, -1))
    basis = torch.eye(6, dtype=torch.float64)[:2].unsqueeze(1).expand(-1, 3, -1)
    (batched,) = torch.autograd.grad(layer(x), x, basis, is_grads_batched=True)
    torch.testing.assert_close(batched, layer.masked_weight()[:2].unsqueeze(1).expand(-1, 3, -1))


def test_names_in_the_state_are_stable():
    made = MADE(6, 2, [4, 5], 3)
    assert set(made.state_dict()) == {
        *(f"hidden.{i}.{name}" for i in range(2) for name in ("weight", "bias")),
        "output.weight",
        "output.bias",
        "context.weight",
    }
