"""Gradients of the one-pass inverse: against autograd through the plain loop, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepflows import incremental_gradients
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.flow import ConditionalFlow
from hepflows.incremental import solve, solve_by_passes
from hepflows.incremental_torch import Problem, solve_in_blocks
from hepflows.permutations import Permutation
from hepflows.sorted_network import context_share, sorted_network
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SPLINE = SplineSettings(bins=5, bound=4.0)


def random_like(outputs: Sequence[Tensor], seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(output.shape, dtype=output.dtype, generator=generator) for output in outputs]


def assert_same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        scale = float(b.detach().abs().max()) if b.numel() else 1.0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * max(1.0, scale))


@given(
    seed=st.integers(0, 2**31),
    features=st.integers(1, 14),
    contexts=st.integers(0, 2),
    hidden=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    degrees=st.sampled_from(["even", "sequential"]),
    count=st.sampled_from([0, 1, 7]),
    inverse=st.booleans(),
    bins=st.sampled_from([1, 2, 5]),
    block=st.sampled_from([1, 4, 32]),
    panel=st.sampled_from([1, 5, 64]),
)
@settings(max_examples=50, deadline=None)
def test_equal_to_autograd_through_the_plain_loop(
    masked_network, network_inputs, seed, features, contexts, hidden, degrees, count, inverse, bins, block, panel
) -> None:
    spline = SplineSettings(bins=bins, bound=4.0)
    made = masked_network(seed, features, contexts, hidden, degrees, spline=spline)
    y, context = network_inputs(made, count)
    given = [tensor.requires_grad_() for tensor in (y, context) if tensor is not None]
    wanted = [*given, *made.parameters()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_gradients, "_BLOCK", block)
        patch.setattr(incremental_gradients, "_PANEL", panel)
        patch.setattr(incremental_gradients, "_VALUES", {"cpu": 3 * features * spline.n_parameters})
        outputs = solve(made, y, context, spline, inverse=inverse)
        upstream = random_like(outputs)
        ours = torch.autograd.grad(outputs, wanted, upstream)
    expected = solve_by_passes(made, y, context, spline, inverse=inverse)
    theirs = torch.autograd.grad(expected, wanted, upstream, allow_unused=True, materialize_grads=True)
    assert_same(outputs, expected)
    assert_same(ours, theirs)


@pytest.mark.parametrize("part", ["v", "log_det"])
@pytest.mark.parametrize("wanted", ["y", "context", "weights"])
def test_only_what_is_wanted(masked_network, network_inputs, part: str, wanted: str) -> None:
    """Sampling under HMC wants the noise's gradient alone, distillation the weights'."""
    made = masked_network(2, 11, 2, [14, 9], spline=SPLINE)
    y, context = network_inputs(made, 6)
    made.requires_grad_(wanted == "weights")
    chosen = {"y": [y], "context": [context], "weights": list(made.parameters())}[wanted]
    for tensor in chosen:
        tensor.requires_grad_()
    place = 0 if part == "v" else 1
    output = solve(made, y, context, SPLINE, inverse=True)[place]
    ours = torch.autograd.grad(output.sin().sum(), chosen)
    expected = solve_by_passes(made, y, context, SPLINE, inverse=True)[place]
    assert_same(ours, torch.autograd.grad(expected.sin().sum(), chosen))


def test_tails_and_bounds(masked_network, network_inputs) -> None:
    """Beyond the bound the transformation is the identity: derivative 1, whatever the parameters."""
    made = masked_network(3, 9, 0, [16], spline=SPLINE)
    y, _ = network_inputs(made, 40)
    y = torch.where(torch.arange(40)[:, None] % 2 == 0, 3 * y, y)
    y[0, 8], y[1, 8] = 1e30, -1e30
    y[2, 3:] = 4.0
    y.requires_grad_()
    outputs = solve(made, y, None, SPLINE, inverse=True)
    expected = solve_by_passes(made, y, None, SPLINE, inverse=True)
    upstream = random_like(outputs)
    (ours,) = torch.autograd.grad(outputs, y, upstream)
    assert_same([ours], torch.autograd.grad(expected, y, upstream))
    assert ours[0, 8] == upstream[0][0, 8]


def test_not_a_number_stays_in_its_sample(masked_network, network_inputs) -> None:
    made = masked_network(4, 9, 2, [16], spline=SPLINE).requires_grad_(False)
    y, context = network_inputs(made, 8)

    def gradient(y: Tensor) -> Tensor:
        y = y.clone().requires_grad_()
        (found,) = torch.autograd.grad(solve(made, y, context, SPLINE, inverse=True)[0].sum(), y)
        return found

    clean = gradient(y)
    y[5, 2] = float("nan")
    found = gradient(y)
    others = torch.arange(8) != 5
    assert found[5].isnan().any()
    torch.testing.assert_close(found[others], clean[others], rtol=1e-12, atol=1e-12)


def test_gradients_of_gradients_and_vectorised_jacobians(masked_network, network_inputs) -> None:
    made = masked_network(5, 6, 1, [9, 7], spline=SPLINE)
    y, context = network_inputs(made, 3)
    y.requires_grad_()

    def second(function: Any) -> tuple[Tensor, ...]:
        v, log_det = function(made, y, context, SPLINE, inverse=True)
        (first,) = torch.autograd.grad(v.sin().sum() + log_det.sum(), y, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [y, *made.parameters()])

    assert_same(second(solve), second(solve_by_passes))

    def jacobian(function: Any, *, vectorize: bool) -> Tensor:
        found = torch.autograd.functional.jacobian(
            lambda y: function(made, y, context, SPLINE, inverse=True)[0].sum(0), y.detach(), vectorize=vectorize
        )
        assert isinstance(found, torch.Tensor)
        return found

    assert_same([jacobian(solve, vectorize=True)], [jacobian(solve_by_passes, vectorize=False)])


def test_torch_func(masked_network, network_inputs) -> None:
    made = masked_network(6, 6, 1, [9], spline=SPLINE)
    y, context = network_inputs(made, 4)

    def log_det(weights: dict[str, Tensor], y: Tensor, context: Tensor) -> Tensor:
        class Solver(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.made = made

            def forward(self) -> Tensor:
                return solve(self.made, y[None], context[None], SPLINE, inverse=True)[1][0]

        result: Tensor = torch.func.functional_call(Solver(), weights, ())
        return result

    weights = {f"made.{name}": 1.1 * value.detach() for name, value in made.named_parameters()}
    per_sample = torch.func.vmap(torch.func.grad(log_det), in_dims=(None, 0, 0))(weights, y, context)
    recorded = {name: value.clone().requires_grad_() for name, value in weights.items()}
    for number in range(4):
        found = torch.autograd.grad(log_det(recorded, y[number], context[number]), list(recorded.values()))
        assert_same([gradient[number] for gradient in per_sample.values()], found)


def test_single_precision_is_as_good_as_recording_the_loop(masked_network, network_inputs) -> None:
    made = masked_network(7, 60, 2, [50, 50], spline=SPLINE)
    y, context = network_inputs(made, 200)

    def gradients(dtype: torch.dtype, *, loop: bool) -> list[Tensor]:
        network = masked_network(7, 60, 2, [50, 50], spline=SPLINE, dtype=dtype)
        network.load_state_dict(made.state_dict())
        given = [y.to(dtype).requires_grad_(), context.to(dtype).requires_grad_()]
        if loop:
            share = context_share(network, given[1])
            v, log_det = solve_in_blocks(Problem(sorted_network(network), share, given[0], SPLINE, True))
        else:
            v, log_det = solve(network, *given, SPLINE, inverse=True)
        found = torch.autograd.grad(v.sin().sum() + log_det.sum(), [*given, *network.parameters()])
        return [gradient.double() for gradient in found]

    truth = gradients(torch.float64, loop=False)
    ours, theirs = gradients(torch.float32, loop=False), gradients(torch.float32, loop=True)
    for exact, a, b in zip(truth, ours, theirs, strict=True):
        assert (a - exact).abs().median() <= 2 * (b - exact).abs().median() + 1e-6 * exact.abs().max()


@pytest.mark.parametrize("cls", [MaskedAutoregressive, InverseAutoregressive])
def test_through_a_whole_flow(cls: type[MaskedAutoregressive]) -> None:
    torch.manual_seed(0)
    parts = [cls(7, 1, [12], SPLINE), Permutation(torch.randperm(7)), cls(7, 1, [12], SPLINE)]
    flow = ConditionalFlow(parts).double().eval()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    noise, context = torch.randn(5, 7).double().requires_grad_(), torch.randn(5, 1).double()
    x = flow.sample(noise, context)
    (found,) = torch.autograd.grad(x.sum(), noise)
    for number in range(5):
        one = context[number : number + 1]
        jacobian = torch.autograd.functional.jacobian(lambda x, one=one: flow(x[None], one)[0][0], x[number].detach())
        torch.testing.assert_close(found[number], torch.linalg.inv(jacobian).sum(0), rtol=1e-8, atol=1e-9)
    (-flow.log_prob(x.detach(), context).mean()).backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_graph_keeps_the_solution_alone(masked_network, network_inputs) -> None:
    """What is saved for the backward pass grows as N (D + H), not with the spline parameters of N D splines."""
    made = masked_network(8, 40, 2, [30], spline=SPLINE)
    saved: list[int] = []

    def count(tensor: Tensor) -> Tensor:
        saved.append(tensor.untyped_storage().data_ptr() and tensor.untyped_storage().nbytes())
        return tensor

    sizes = []
    for samples in (100, 300):
        y, context = network_inputs(made, samples)
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            v, _ = solve(made, y.requires_grad_(), context, SPLINE, inverse=True)
        assert v.requires_grad
        sizes.append(sum(saved))
    assert (sizes[1] - sizes[0]) / 200 <= 8 * (2 * 40 + 30 + 2)
