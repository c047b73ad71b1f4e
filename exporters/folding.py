"""Constant folding of an ONNX graph: what does not depend on the inputs is computed once, at export.

torch's own folding leaves some constants as nodes (triangular matrices, slices of buffers). Hosts that switch
the runtime's optimisations off (Geant4's Par04 does) would compute them for every event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporters.dependencies import require_onnx

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def fold_constants(model: Any) -> None:
    """Replace every node of an onnx.ModelProto that has constant inputs only by an initialiser, in place.

    Equal initialisers are stored once, unused ones and unused nodes are left out.
    """
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    constant, remaining = [], []
    for node in graph.node:
        if all(name in known for name in node.input if name):
            known.update(node.output)
            constant.append(node)
        else:
            remaining.append(node)
    remaining = _live(remaining, {output.name for output in graph.output})
    wanted = {name for node in remaining for name in node.input if name in known}
    values = _evaluate(model, constant, sorted(wanted))
    names = _store(graph, values)
    for node in remaining:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
    del graph.node[:]
    graph.node.extend(remaining)


def _live(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """The nodes whose results reach an output, in their order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _evaluate(model: Any, nodes: list[Any], names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Values of constant tensors, computed by the reference implementation of the operators."""
    onnx = require_onnx()
    from onnx.reference import ReferenceEvaluator

    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    computed = [name for name in names if name not in stored]
    if computed:
        outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in computed]
        graph = onnx.helper.make_graph(nodes, "constants", [], outputs, list(model.graph.initializer))
        part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        stored.update(zip(computed, ReferenceEvaluator(part).run(None, {}), strict=True))
    return {name: stored[name] for name in names}


def _store(graph: Any, values: dict[str, NDArray[np.generic]]) -> dict[str, str]:
    """Make `values` the graph's initialisers, equal ones once; return the new name of each."""
    onnx = require_onnx()
    del graph.initializer[:]
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    for name, value in values.items():
        key = (str(value.dtype), value.shape, value.tobytes())
        names[name] = first.setdefault(key, name)
        if names[name] == name:
            graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return names
