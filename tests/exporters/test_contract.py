"""The exported graph keeps the embedding contract, and the check notices each broken point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.contract import (
    INT8_OPERATORS,
    LOOP_OPERATORS,
    Signature,
    is_portable,
    operators,
    separate,
    violations,
)
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from exporters import ExportResult

SIGNATURE = separate(2, 10, 8)
#: Operators that draw noise, search, loop, or that generators of C code do not cover.
LACKING = (
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "CumSum",
    "GatherElements", "GatherND", "ScatterElements", "ScatterND", "NonZero", "TopK", "Unique", "Loop", "Scan", "If",
)  # fmt: skip


@pytest.fixture(scope="module")
def graph(exported: ExportResult) -> onnx.ModelProto:
    return onnx.load(exported.model, load_external_data=False)


def test_the_exported_graph_keeps_the_contract(graph: onnx.ModelProto) -> None:
    assert violations(graph, SIGNATURE) == []
    onnx.checker.check_model(graph, full_check=True)


def test_versions_load_in_every_runtime_from_1_15(graph: onnx.ModelProto) -> None:
    assert graph.ir_version == 8
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 17)]


def test_tensors_are_float32_of_rank_2_with_a_dynamic_batch_in_alphabetical_order(
    graph: onnx.ModelProto,
) -> None:
    tensors = [*graph.graph.input, *graph.graph.output]
    assert [tensor.name for tensor in tensors] == ["cond", "noise", "x"]
    for tensor, width in zip(tensors, (2, 10, 8), strict=True):
        batch, size = tensor.type.tensor_type.shape.dim
        assert tensor.type.tensor_type.elem_type == TensorProto.FLOAT
        assert batch.dim_param
        assert not batch.HasField("dim_value")
        assert size.dim_value == width


def test_no_operator_draws_noise_loops_or_searches(graph: onnx.ModelProto) -> None:
    found = {node.op_type for node in graph.graph.node}
    assert not [name for name in found if name.startswith("Random") or name in {"Multinomial", "Bernoulli"}]
    assert found.isdisjoint(
        {"SearchSorted", "CumSum", "GatherElements", "GatherND", "ScatterND", "Loop", "Scan", "If", "NonZero"}
    )


def test_weights_are_inside_and_masks_are_folded(graph: onnx.ModelProto, toy: Any, stored_forms: Any) -> None:
    stored = [numpy_helper.to_array(tensor) for tensor in graph.graph.initializer]
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in graph.graph.initializer)
    module = toy.sampling_module()
    masked = [part for part in module.shapes.modules() if hasattr(part, "mask")]
    assert len(masked) == 6
    for part in masked:
        product = (part.weight * part.mask).detach().numpy()
        plain, mask = part.weight.detach().numpy(), part.mask.numpy()
        if (mask == 1).all():
            continue
        assert any(np.array_equal(value, form) for value in stored for form in stored_forms(product))
        for unwanted in (plain, mask, plain.T, mask.T):
            assert not any(np.array_equal(value, unwanted) for value in stored)


def test_no_file_of_this_machine_is_named_inside(exported: ExportResult) -> None:
    data = exported.model.read_bytes()
    assert b"/hepflows/" not in data
    assert b".py" not in data


def _copy(graph: onnx.ModelProto) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    return other


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("opset", "operator sets"),
        ("ir", "IR version"),
        ("random", "RandomNormal"),
        ("subgraph", "subgraphs"),
        ("hidden weights", "weights inside of subgraphs"),
        ("external", "outside the file"),
        ("constant", "constants only"),
        ("order", "inputs"),
        ("static", "inputs"),
        ("double", "outputs"),
    ],
)
def test_each_broken_point_is_named(graph: onnx.ModelProto, kind: str, word: str) -> None:
    bad = _copy(graph)
    if kind == "opset":
        bad.opset_import[0].version = 18
    elif kind == "ir":
        bad.ir_version = 10
    elif kind == "random":
        bad.graph.node.append(helper.make_node("RandomNormalLike", ["noise"], ["extra"]))
    elif kind in ("subgraph", "hidden weights"):
        weights = [numpy_helper.from_array(np.ones(1, np.float32), "w")] if kind == "hidden weights" else []
        body = helper.make_graph([helper.make_node("Neg", ["noise"], ["inner"])], "body", [], [], weights)
        # an operator of the list, so that this point alone is broken
        bad.graph.node.append(helper.make_node("Identity", ["noise"], ["extra"], body=body))
    elif kind == "external":
        bad.graph.initializer[0].data_location = TensorProto.EXTERNAL
    elif kind == "constant":
        name = bad.graph.initializer[0].name
        bad.graph.node.append(helper.make_node("Neg", [name], ["extra"]))
    elif kind == "order":
        swapped = list(bad.graph.input)[::-1]
        del bad.graph.input[:]
        bad.graph.input.extend(swapped)
    elif kind == "static":
        bad.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    else:
        bad.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    besides = LOOP_OPERATORS if kind == "hidden weights" else frozenset()
    found = violations(bad, SIGNATURE, besides=besides)
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize("operator", LACKING)
def test_no_list_lets_an_operator_in_that_hosts_lack(graph: onnx.ModelProto, operator: str) -> None:
    bad = _copy(graph)
    bad.graph.node.append(helper.make_node(operator, ["noise"], ["extra"]))
    assert violations(bad, SIGNATURE) == [f"operators that not every host has: {operator}"]
    assert not is_portable(operators(bad))
    allowed = {"Loop"} if operator == "Loop" else set()
    assert (LOOP_OPERATORS | INT8_OPERATORS) & {operator} == allowed


def test_inputs_must_be_in_alphabetical_order() -> None:
    with pytest.raises(ConfigError, match="alphabetical"):
        Signature(inputs=(("noise", 3), ("cond", 1)), width=2)
