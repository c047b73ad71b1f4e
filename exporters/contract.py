"""The contract of an exported graph, checked on the graph itself before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from exporters.dependencies import PACKED, require_onnx
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OPSET: Final = 17
IR_VERSION: Final = 8
OUTPUT: Final = "x"
#: Second output (N, 1) of generators of weighted events.
WEIGHT: Final = "weight"

#: Operators that every host covers, generators of C code included. Random*, SearchSorted, CumSum,
#: GatherElements, GatherND, NonZero, Loop, Scan and If are out on purpose, and so is
#: Sigmoid, see `exporters.rewriting`.
PORTABLE_OPERATORS: Final = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos", "Div", "Equal",
        "Exp", "Expand", "Flatten", "Gather", "Gemm", "Greater", "GreaterOrEqual", "Identity", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "Reciprocal",
        "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Shape", "Sign",
        "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose",
        "Unsqueeze", "Where",
    }
)  # fmt: skip

#: Besides, in graphs whose weights are int8, which not every host runs.
INT8_OPERATORS: Final = frozenset({"DynamicQuantizeLinear", "MatMulInteger"})
#: Besides, in graphs that sample one dimension after the other (`exporters.loops`).
LOOP_OPERATORS: Final = frozenset({"Loop"})


@dataclass(frozen=True)
class Signature:
    """Names and widths of a graph's tensors, all float32 of shape (batch, width).

    Attributes:
        inputs: in graph order, which is alphabetical: some hosts push by position, some by sorted name.
        width: numbers D of one event, the first output, `x`.
        others: further outputs.
    """

    inputs: tuple[tuple[str, int], ...]
    width: int
    others: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.inputs]
        if names != sorted(names):
            raise ConfigError("the graph's inputs are not in alphabetical order", found=names)

    @property
    def outputs(self) -> tuple[tuple[str, int], ...]:
        """All outputs, in graph order."""
        return ((OUTPUT, self.width), *self.others)


def separate(n_columns: int, noise_dim: int, width: int) -> Signature:
    """Profile `generic`: cond (N, C), noise (N, Z) to x (N, D); without conditions there is no `cond`."""
    cond = (("cond", n_columns),) if n_columns else ()
    return Signature(inputs=(*cond, ("noise", noise_dim)), width=width)


def packed(n_columns: int, noise_dim: int, width: int) -> Signature:
    """Profile `par04`: one input (N, Z + C), noise first, to x (N, D)."""
    return Signature(inputs=((PACKED, noise_dim + n_columns),), width=width)


def operators(model: Any) -> dict[str, int]:
    """How often each operator occurs in an onnx.ModelProto, subgraphs included, by name."""
    return dict(sorted(Counter(node.op_type for node in _nodes(model.graph)).items()))


def is_portable(found: Iterable[str]) -> bool:
    """Whether every host covers these operators; a graph with loops or int8 needs ONNX Runtime or its like."""
    return PORTABLE_OPERATORS.issuperset(found)


def violations(model: Any, signature: Signature, *, besides: frozenset[str] = frozenset()) -> list[str]:
    """Every point of the contract that an onnx.ModelProto breaks, in words; empty if it keeps all of them.

    Args:
        model: the graph.
        signature: what its inputs and output must be.
        besides: operators that it may have beside the portable ones, `INT8_OPERATORS` and `LOOP_OPERATORS`.
    """
    onnx = require_onnx()
    graph = model.graph
    found = []
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        found.append(f"operator sets {opsets} instead of {OPSET} of the standard domain alone")
    if model.ir_version != IR_VERSION:
        found.append(f"IR version {model.ir_version} instead of {IR_VERSION}")
    nodes = list(_nodes(graph))
    foreign = sorted({node.op_type for node in nodes} - PORTABLE_OPERATORS - besides)
    if foreign:
        found.append(f"operators that not every host has: {', '.join(foreign)}")
    subgraphs = [part for node in nodes for part in _subgraphs(node)]
    if subgraphs and not besides & LOOP_OPERATORS:
        found.append("subgraphs")
    if any(part.initializer for part in subgraphs):
        found.append("weights inside of subgraphs")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        found.append("weights outside the file")
    constants = {tensor.name for tensor in graph.initializer}
    # a weight that is stored in another type is a constant that has to be turned into float32
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    unfolded = [
        node.op_type
        for node in nodes
        if constants.issuperset(node.input) and not (node.op_type == "Cast" and halves.issuperset(node.input))
    ]
    if unfolded:
        found.append(f"nodes that depend on constants only (masks not folded?): {', '.join(sorted(set(unfolded)))}")
    inputs = [(value.name, _shape(onnx, value)) for value in graph.input if value.name not in constants]
    if inputs != [(name, (None, width)) for name, width in signature.inputs]:
        found.append(f"inputs {inputs}, expected {signature.inputs} of float32 with a dynamic batch axis")
    outputs = [(value.name, _shape(onnx, value)) for value in graph.output]
    if outputs != [(name, (None, width)) for name, width in signature.outputs]:
        found.append(f"outputs {outputs}, expected {signature.outputs} of float32 with a dynamic batch axis")
    return found


def _nodes(graph: Any) -> Iterator[Any]:
    """Nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for part in _subgraphs(node):
            yield from _nodes(part)


def _subgraphs(node: Any) -> list[Any]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _shape(onnx: Any, value: Any) -> tuple[int | None, ...] | str:
    """Shape with None for a named axis; the type's name where it is not a float32 tensor."""
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        return f"of type {onnx.TensorProto.DataType.Name(tensor.elem_type)}"
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
