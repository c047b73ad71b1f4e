"""Rewriting operators that runtimes compute less exactly than torch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from exporters.dependencies import require_onnx

_ONE: Final = "one_of_sigmoid"


def exact_sigmoid(model: Any) -> None:
    """Replace Sigmoid by 1 / (1 + exp(-x)) in an onnx.ModelProto, in place.

    ONNX Runtime's Sigmoid on CPUs is a rational approximation with an absolute error of about 1e-7: where the
    result is small (a tiny energy fraction) it is wrong by up to 2 %, measured with version 1.32. The four
    operators are exact to 1e-7 relative, and their limits are right: exp overflows to infinity,
    whose inverse is 0.
    """
    onnx = require_onnx()
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type != "Sigmoid":
            nodes.append(node)
            continue
        x, y = node.input[0], node.output[0]
        nodes += [
            onnx.helper.make_node("Neg", [x], [f"{y}_neg"]),
            onnx.helper.make_node("Exp", [f"{y}_neg"], [f"{y}_exp"]),
            onnx.helper.make_node("Add", [f"{y}_exp", _ONE], [f"{y}_sum"]),
            onnx.helper.make_node("Div", [_ONE, f"{y}_sum"], [y]),
        ]
    if len(nodes) == len(model.graph.node):
        return
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, dtype=np.float32), _ONE))
