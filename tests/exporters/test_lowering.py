"""Lowering: the graph computes what the module computes, for any batch, and clamps what a host may pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from exporters.contract import separate
from exporters.dependencies import session
from exporters.evaluation import Inputs, evaluate_runtime
from exporters.exportable import Condition
from exporters.folding import fold_constants
from exporters.lowering import lower
from exporters.profiles import Guarded
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.philox import normal_noise
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporters import ExportResult


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        return self.function(cond, noise)


def lowered(module: nn.Module, width: int = 3) -> bytes:
    example = (torch.full((2, 1), 0.5), torch.from_numpy(normal_noise(1, 0, 2, 3)))
    return lower(module, separate(1, 3, width), example)


def run(model: bytes, cond: Any, noise: Any, **options: Any) -> np.ndarray:
    feeds = {"cond": np.asarray(cond, dtype=np.float32), "noise": np.asarray(noise, dtype=np.float32)}
    return np.asarray(session(model, **options).run(None, feeds)[0])


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("events", [1, 7, 256])
def test_any_batch_gives_what_torch_gives(exported: ExportResult, toy: Any, events: int, optimise: bool) -> None:
    cond = np.tile([[20.0, 0.1]], (events, 1)).astype(np.float32)
    noise = normal_noise(11, 0, events, 10)
    x = run(exported.model.read_bytes(), cond, noise, optimise=optimise)
    module = toy.sampling_module().double()
    with torch.no_grad():
        expected = module(torch.from_numpy(cond).double(), torch.from_numpy(noise).double()).numpy()
    assert x.shape == (events, 8)
    np.testing.assert_allclose(x, expected, atol=exported.parity.bound.maximum, rtol=0)


def test_a_raw_host_never_gets_nan(exported: ExportResult) -> None:
    wild = [-np.inf, -1.0, 0.0, 1e-30, 1e30, np.inf, np.nan]
    cond = np.array([[value, theta] for value in wild for theta in (np.nan, 0.2, -np.inf)], dtype=np.float32)
    x = run(exported.model.read_bytes(), cond, np.full((len(cond), 10), 6.3))
    assert np.isfinite(x).all()


def test_conditions_outside_are_those_of_the_nearest_end(exported: ExportResult) -> None:
    noise = normal_noise(3, 0, 4, 10)
    model = exported.model.read_bytes()
    outside = run(model, [[1e6, 0.2], [0.1, 9.0], [np.nan, 0.2], [50.0, -1.0]], noise)
    inside = run(model, [[100.0, 0.2], [1.0, 0.5], [1.0, 0.2], [50.0, 0.0]], noise)
    np.testing.assert_array_equal(outside, inside)


def test_the_guard_leaves_valid_conditions_alone() -> None:
    conditions = [Condition(name="e", unit="GeV", low=1.0, high=2.0)]
    guarded = Guarded(Applied(lambda cond, _: cond), conditions)
    cond = torch.linspace(1.0, 2.0, 11)[:, None]
    torch.testing.assert_close(guarded(cond, cond), cond, rtol=0, atol=0)


def test_a_coupling_flow_lowers_too() -> None:
    generator = torch.Generator().manual_seed(1)
    make = partial(SplineCoupling, 3, 1, SplineSettings(bins=4, bound=5.0), width=8)
    flow = ConditionalFlow(coupling_blocks(3, make, blocks=3, generator=generator)).eval()
    noise = normal_noise(2, 0, 9, 3)
    cond = np.full((9, 1), 0.5)
    module = Applied(lambda cond, noise: flow.sample(noise, cond))
    module.add_module("flow", flow)
    x = run(lowered(module), cond, noise)
    with torch.no_grad():
        expected = flow.sample(torch.from_numpy(noise), torch.full((9, 1), 0.5)).numpy()
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-5)


def test_small_sigmoids_are_exact() -> None:
    """ONNX Runtime's own operator is wrong by a per cent where the result is about 1e-6."""
    noise = np.linspace(-80, 20, 300).reshape(100, 3)
    x = run(lowered(Applied(lambda cond, noise: torch.sigmoid(noise) + 0 * cond)), np.zeros((100, 1)), noise)
    exact = 1 / (1 + np.exp(-noise.astype(np.float32).astype(float)))
    np.testing.assert_allclose(x, exact, rtol=3e-7)
    far = run(
        lowered(Applied(lambda cond, noise: torch.sigmoid(noise) + 0 * cond)),
        [[0.0]],
        [[-200.0, 200.0, -np.inf]],
    )
    np.testing.assert_array_equal(far, [[0.0, 1.0, 0.0]])


def test_an_operator_outside_the_portable_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="CumSum"):
        lowered(Applied(lambda cond, noise: torch.cumsum(noise, dim=1) + cond))


def test_noise_drawn_inside_the_graph_is_refused() -> None:
    with pytest.raises(ConfigError, match="Random"):
        lowered(Applied(lambda cond, noise: noise + cond + torch.randn_like(noise)))


def test_an_operator_unknown_to_onnx_is_refused() -> None:
    with pytest.raises(ConfigError, match="opset 17"):
        lowered(Applied(lambda cond, noise: torch.special.bessel_j0(noise) + cond))


def test_a_module_above_two_gigabytes_is_refused_before_any_work() -> None:
    module = Applied(lambda cond, noise: noise + cond)
    module.register_parameter("huge", nn.Parameter(torch.empty(2**29, device="meta")))
    with pytest.raises(ConfigError, match="too large"):
        lowered(module)


def test_folding_keeps_the_values_and_stores_equal_constants_once() -> None:
    one = numpy_helper.from_array(np.ones((3, 3), dtype=np.float32), "one")
    twin = numpy_helper.from_array(np.ones((3, 3), dtype=np.float32), "twin")
    unused = numpy_helper.from_array(np.zeros(5, dtype=np.float32), "unused")
    nodes = [
        helper.make_node("Trilu", ["one"], ["lower"], upper=0),
        helper.make_node("Mul", ["lower", "twin"], ["masked"]),
        helper.make_node("MatMul", ["x", "masked"], ["y"]),
        helper.make_node("MatMul", ["y", "one"], ["z"]),
        helper.make_node("MatMul", ["z", "twin"], ["w"]),
        helper.make_node("Neg", ["x"], ["dead"]),
    ]
    shape = ["N", 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, shape)],
        [one, twin, unused],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    before = session(model.SerializeToString()).run(None, {"x": x})[0]
    fold_constants(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"] * 3
    assert len(model.graph.initializer) == 2
    np.testing.assert_array_equal(session(model.SerializeToString()).run(None, {"x": x})[0], before)


class _Unconditional(nn.Module):
    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        assert cond.shape == (len(noise), 0)
        return torch.cat([2 * noise, (noise > 0).float()], dim=1)


def test_without_conditions_there_is_no_such_input() -> None:
    noise = normal_noise(1, 0, 5, 3)
    signature = separate(0, 3, 6)
    module = Guarded(_Unconditional(), ())
    model = lower(module, signature, (torch.empty(5, 0), torch.from_numpy(noise)))
    runtime = session(model)
    assert [value.name for value in runtime.get_inputs()] == ["noise"]
    inputs = Inputs(cond=np.empty((5, 0), np.float32), noise=noise)
    np.testing.assert_array_equal(
        evaluate_runtime(model, inputs, optimise=True), np.concatenate([2 * noise, noise > 0], axis=1)
    )
