"""The exact sampling of a long masked flow as a graph: right, each weight once, marked as not portable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from exporters import contract, lowering
from exporters.contract import LOOP_OPERATORS, operators, separate, violations
from exporters.dependencies import session
from exporters.lowering import lower
from exporters.packing import block_size, pack
from exporters.tolerance import Quantiles
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.errors import ConfigError
from hepflows.incremental import solve_by_passes
from hepflows.made import MADE
from hepflows.philox import normal_noise
from hepflows.sorted_network import sorted_network
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND = 3.0
SPLINE = SplineSettings(bins=6, bound=BOUND)
EVENTS = 192


class Chain(nn.Module):
    """cond (N, C), noise (N, D): autoregressive blocks solved dimension by dimension, reversed between them."""

    def __init__(self, kind: type[nn.Module], blocks: int, features: int, context: int, *args: Any, **options: Any):
        super().__init__()
        self.blocks = nn.ModuleList(kind(features, context, *args, **options) for _ in range(blocks))
        self.context, self.spline = context, args[1]
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in self.parameters():
                scale = 2 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 1.0
                weight.copy_(scale * torch.randn(weight.shape, generator=generator))

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        x = noise
        for block in self.blocks:
            solve = block.inverse if isinstance(block, MaskedAutoregressive) else block.forward
            x = solve(x.flip(1), cond if self.context else None)[0]
        return x

    def by_passes(self, cond: Tensor, noise: Tensor) -> Tensor:
        """The definition: D full passes of each network."""
        x = noise
        for block in self.blocks:
            inverse = isinstance(block, MaskedAutoregressive)
            x = solve_by_passes(block.made, x.flip(1), cond if self.context else None, self.spline, inverse=inverse)[0]
        return x


class Case:
    """A chain, its graph, events and what they should give."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain.eval()
        made = chain.blocks[0].made
        self.signature = separate(chain.context, made.features, made.features)
        self.cond = normal_noise(1, 0, EVENTS, chain.context) if chain.context else np.empty((EVENTS, 0), np.float32)
        self.noise = 1.5 * normal_noise(2, 0, EVENTS, made.features)
        tensors = torch.from_numpy(self.cond), torch.from_numpy(self.noise)
        self.model = lower(chain, self.signature, [tensor[:3] for tensor in tensors])
        with torch.no_grad():
            self.torch32 = chain(*tensors).numpy()
            self.truth = chain.double().by_passes(*(tensor.double() for tensor in tensors)).numpy()
            chain.float()
        self.sessions = {optimise: session(self.model, optimise=optimise, threads=1) for optimise in (True, False)}

    def run(self, rows: slice = slice(None), *, optimise: bool = True) -> NDArray[np.float32]:
        feeds = (
            {"cond": self.cond[rows], "noise": self.noise[rows]} if self.chain.context else {"noise": self.noise[rows]}
        )
        return np.asarray(self.sessions[optimise].run(None, feeds)[0])


CASES = {
    "even, few units": (MaskedAutoregressive, 2, 71, 3, (50, 60), SPLINE, "even"),
    "even, two units a degree, no context": (MaskedAutoregressive, 2, 67, 0, (100,), SPLINE, "even"),
    "sequential, degrees without units": (MaskedAutoregressive, 2, 90, 2, (40, 70, 95), SPLINE, "sequential"),
    "density of an IAF": (InverseAutoregressive, 2, 65, 2, (48, 48), SPLINE, "even"),
    "one bin": (MaskedAutoregressive, 1, 70, 2, (40,), SplineSettings(bins=1, bound=BOUND), "even"),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    kind, blocks, features, context, hidden, spline, degrees = CASES[request.param]
    return Case(Chain(kind, blocks, features, context, hidden, spline, degrees=degrees))


@pytest.mark.parametrize("optimise", [True, False])
def test_the_graph_is_the_exact_inverse(case: Case, optimise: bool) -> None:
    found = Quantiles.of(case.run(optimise=optimise) - case.truth)
    torch32 = Quantiles.of(case.torch32 - case.truth)
    assert torch32.median < 1e-5
    assert found.median <= 2 * torch32.median
    assert found.p999 <= 4 * torch32.p999  # of some 13 000 values; `to_onnx` compares 100 000
    assert not np.allclose(case.truth, case.noise, atol=0.1)


def test_any_batch_gives_the_same(case: Case) -> None:
    whole = case.run()
    atol = 10 * float(np.abs(case.torch32 - case.truth).max())
    for size in (1, 7):
        parts = [case.run(slice(start, start + size)) for start in range(0, 21, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole[:21], rtol=0, atol=atol)


def test_the_tails_are_the_identity() -> None:
    case = Case(Chain(MaskedAutoregressive, 1, 70, 2, (40,), SPLINE))
    y = case.noise[:, ::-1]
    outside = np.abs(y) >= BOUND
    assert outside.sum() > 100
    x = case.run()
    np.testing.assert_array_equal(x[outside], y[outside])
    assert (x[~outside] != y[~outside]).mean() > 0.99


@pytest.fixture(scope="module")
def wide() -> Case:
    """Wide enough that a block is a small part of it."""
    return Case(Chain(MaskedAutoregressive, 2, 130, 2, (98, 98), SPLINE))


def test_weights_in_force_are_stored_once(wide: Case) -> None:
    dense = 4 * sum(weight.numel() for weight in wide.chain.parameters())
    in_force = 4 * sum(
        int(np.count_nonzero(part.masked_weight().detach().numpy()))
        for part in wide.chain.modules()
        if hasattr(part, "mask")
    )
    stored = sum(4 * int(np.prod(tensor.dims)) for tensor in onnx.load_from_string(wide.model).graph.initializer)
    assert in_force < stored < 1.3 * in_force
    assert len(wide.model) - stored < 400_000  # the nodes of two blocks
    assert stored < 0.7 * dense


def test_loops_are_the_only_operators_that_are_not_portable(wide: Case) -> None:
    model = onnx.load_from_string(wide.model)
    used = operators(model)
    assert set(used) - contract.PORTABLE_OPERATORS == {"Loop"}
    assert used["Loop"] == 2
    assert used["Softmax"] == 2 * block_size(130)  # those inside of loops are counted
    assert not contract.is_portable(used)
    assert violations(model, wide.signature, besides=LOOP_OPERATORS) == []
    assert [entry.domain for entry in model.opset_import] == [""]
    words = violations(model, wide.signature)
    assert len(words) == 2
    assert "Loop" in words[0]
    assert "subgraphs" in words[1]


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (helper.make_node("RandomNormal", [], ["drawn"], shape=[1]), "every host has: RandomNormal"),
        (helper.make_node("Neg", ["inverse_constant_0"], ["folded"]), "constants only"),
        (None, "inside of subgraphs"),
    ],
    ids=["random", "unfolded", "weights"],
)
def test_the_contract_looks_into_loops(wide: Case, node: Any, word: str) -> None:
    model = onnx.load_from_string(wide.model)
    body = next(part for part in model.graph.node if part.op_type == "Loop").attribute[0].g
    if node is None:
        body.initializer.append(numpy_helper.from_array(np.zeros(3, dtype=np.float32), "hidden"))
    else:
        body.node.append(node)
    assert any(word in words for words in violations(model, wide.signature, besides=LOOP_OPERATORS))


def test_only_long_inverses_become_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "MOST_UNROLLED", 4)
    for features, loops in ((4, False), (5, True)):
        case = Case(Chain(MaskedAutoregressive, 1, features, 2, (9,), SPLINE))
        assert ("Loop" in operators(onnx.load_from_string(case.model))) is loops
        assert Quantiles.of(case.run() - case.truth).p999 < 1e-3


@pytest.mark.parametrize("degrees", ["even", "sequential"])
@pytest.mark.parametrize(("features", "hidden"), [(2, (3,)), (67, (40, 150)), (96, (72, 72, 72))])
def test_packing_keeps_each_weight_in_force_once(features: int, hidden: tuple[int, ...], degrees: Any) -> None:
    torch.manual_seed(1)
    made = MADE(features, 3, hidden, 5, degrees=degrees)
    nn.init.normal_(made.output.bias)
    network = sorted_network(made)
    packed = pack(made)
    for level, layer in enumerate(packed.layers):
        given = [network.weights[level], network.biases[level]]
        if level == 0:
            assert made.context is not None
            given.append(made.context.weight)
        given = [tensor.detach().numpy().ravel() for tensor in given]
        stored = [layer.before.flat, layer.inside.ravel()]
        expected, found = (np.sort(np.concatenate(arrays)) for arrays in (given, stored))
        np.testing.assert_array_equal(found[found != 0], expected[expected != 0])


def test_blocks_leave_few_dimensions_over() -> None:
    assert max(-features % block_size(features) for features in range(65, 1000)) <= 8
    assert [block_size(features) for features in (130, 504, 6480)] == [13, 14, 16]


def test_a_single_dimension_needs_no_loop() -> None:
    with pytest.raises(ConfigError, match="several"):
        pack(MADE(1, 0, (4,), 5))
