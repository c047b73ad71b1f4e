"""Placeholders for long inverses: only in traced graphs, only when asked for, only for long ones."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch

from hepflows.autoregressive import MaskedAutoregressive
from hepflows.long_inverses import DOMAIN, OPERATOR, placing
from hepflows.splines import SplineSettings

SPLINE = SplineSettings(bins=4, bound=4.0)


class Inverse(torch.nn.Module):
    def __init__(self, context: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.flow = MaskedAutoregressive(6, context, (8,), SPLINE)

    def forward(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return self.flow.inverse(z, context)[0]


def traced(module: torch.nn.Module, *tensors: torch.Tensor) -> list[onnx.NodeProto]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), tensors, buffer, dynamo=False, opset_version=17)
    return list(onnx.load_from_string(buffer.getvalue()).graph.node)


@pytest.mark.parametrize("context", [0, 2])
def test_a_long_inverse_is_one_node_that_names_its_problem(context: int) -> None:
    module = Inverse(context)
    given = (torch.randn(3, 6), torch.randn(3, 2))[: 1 + bool(context)]
    with placing(above=5) as placeholders:
        nodes = traced(module, *given)
    (node,) = nodes
    assert (node.domain, node.op_type) == (DOMAIN, OPERATOR)
    assert len(node.input) == len(given)
    problem = placeholders.inverses[node.attribute[0].i]
    assert (problem.made, problem.spline, problem.inverse) == (module.flow.made, SPLINE, True)


@pytest.mark.parametrize("above", [6, None])
def test_other_inverses_are_recorded_step_by_step(above: int | None) -> None:
    z = torch.randn(3, 6)
    if above is None:
        nodes = traced(Inverse(0), z)
    else:
        with placing(above) as placeholders:
            nodes = traced(Inverse(0), z)
        assert placeholders.inverses == []
    assert len(nodes) > 100
    assert not any(node.domain for node in nodes)


def test_what_is_not_traced_is_computed() -> None:
    module, z = Inverse(0), torch.randn(3, 6)
    expected = module(z)
    with placing(above=1) as placeholders:
        found = module(z)
    assert placeholders.inverses == []
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
