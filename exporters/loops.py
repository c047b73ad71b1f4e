"""Long autoregressive inverses as ONNX loops: the exact sampling of a MAF teacher, each hidden unit computed once.

Tensors inside stand on their side, (features, N): cutting off a dimension is cutting off a row, and every operator
runs along contiguous events. A loop's round takes a block of dimensions. It carries what is known so far, for each
layer one tensor that grows by a block a round:

    known_0 = [1; context; values], known_l = [1; units of hidden layer l]

so that one product a layer, of a matrix that reaches as far as what is known, gives the block everything from before,
biases and context included. Inside of a block, whose dimensions are unrolled, each layer adds a product with what is
new in the block. See `exporters.packing` for the weights, `hepflows.incremental_torch` for the same in torch, and
Papamakarios et al., arXiv:1705.07057, for the flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exporters.dependencies import require_onnx
from exporters.nodes import Constants, Nodes
from exporters.packing import PackedLayer, PackedNetwork, Ragged, pack
from exporters.spline_nodes import Row, spline_value
from hepflows.long_inverses import DOMAIN, OPERATOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepflows.long_inverses import LongInverse

MOST_UNROLLED: Final = 64
"""Largest number of dimensions that stays unrolled: Flow I over a calorimeter's layers, not Flow II over its voxels."""


def expand_inverses(model: Any, inverses: Sequence[LongInverse]) -> None:
    """Replace the placeholders of `hepflows.long_inverses` in an onnx.ModelProto by loops, in place.

    Args:
        model: float32.
        inverses: what the placeholders' numbers stand for.
    """
    graph = model.graph
    constants = Constants("inverse_")
    nodes: list[Any] = []
    found = 0
    for node in graph.node:
        if (node.domain, node.op_type) == (DOMAIN, OPERATOR):
            problem = inverses[node.attribute[0].i]
            nodes += _inverse(constants, f"inverse_{found}_", problem, list(node.input), node.output[0])
            found += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants.tensors)
    standard = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(standard)


def _inverse(constants: Constants, prefix: str, problem: LongInverse, inputs: list[str], output: str) -> list[Any]:
    """Nodes that compute `output` (N, D) from y (N, D) and, if there is one, the context (N, C)."""
    network = pack(problem.made)
    g = Nodes(prefix, constants)
    y, *context = [g.add("Transpose", name, perm=[1, 0]) for name in inputs]
    events = g.add("Slice", g.add("Shape", y), g.integers([1]), g.integers([2]))
    ones = g.add("Expand", g.floats([[1.0]]), g.add("Concat", g.integers([1]), events, axis=0))
    known = [g.add("Concat", ones, *context, axis=0) if context else ones, *[ones] * (len(network.layers) - 1)]
    missing = network.blocks * network.block - network.features
    if missing:
        y = g.add("Pad", y, g.integers([0, 0, missing, 0]))
    y = g.add("Reshape", y, g.integers([network.blocks, network.block, -1]))

    body = _Body(Nodes(f"{prefix}body_", constants), network, problem).build(y)
    known = g.add_several(
        "Loop",
        g.integers(network.blocks),
        constants.name(np.array(True)),
        *known,
        outputs=[f"{prefix}known_{level}" for level in range(len(known))],
        body=body,
    )
    first = 1 + network.context_features
    values = g.add("Slice", known[0], g.integers([first]), g.integers([first + network.features]), g.integers([0]))
    g.add("Transpose", values, perm=[1, 0], output=output)
    return g.protos


@dataclass(frozen=True)
class _Body:
    """The round of one block.

    Attributes:
        g: where its nodes go.
        network: the network in blocks.
        problem: spline and direction.
    """

    g: Nodes
    network: PackedNetwork
    problem: LongInverse

    def build(self, y: str) -> Any:
        """The subgraph: round, condition, known tensors to condition, known tensors.

        Args:
            y: arguments in the graph around, shape (blocks, B, N).
        """
        g, layers = self.g, self.network.layers
        number, go_on, goes_on = (g.name(name) for name in ("round", "go_on", "goes_on"))
        known = [g.name(f"known_{level}") for level in range(len(layers))]
        place = g.add("Reshape", number, g.integers([1]))
        pending = [self._from_before(layer, part, place) for layer, part in zip(layers, known, strict=True)]
        weights = [
            g.split(g.add("Gather", g.floats(layer.inside), number, axis=0), [w for w in layer.widths if w], axis=1)
            for layer in layers
        ]
        # The first dimension's outputs have nothing new to depend on.
        weights[-1].insert(0, "")
        fresh = self._inside(self._arguments(y, number), pending, weights)
        grown = [g.name(f"grown_{level}") for level in range(len(layers))]
        sources = [None, *(layer.kept for layer in layers[:-1])]
        for before, new, kept, after in zip(known, fresh, sources, grown, strict=True):
            true = new if kept is None else g.add("Gather", new, self._part(kept, place), axis=0)
            g.add("Concat", before, true, axis=0, output=after)
        g.add("Identity", go_on, output=goes_on)
        return _subgraph([number, go_on, *known], [goes_on, *grown], g.protos)

    def _arguments(self, y: str, number: str) -> list[Row]:
        """Arguments of the block's splines."""
        g, block, bound = self.g, self.network.block, self.problem.spline.bound
        mine = g.add("Gather", y, number, axis=0)
        inner = g.add("Clip", mine, g.floats(-bound), g.floats(bound))
        outside = g.add("GreaterOrEqual", g.add("Abs", mine), g.floats(bound))
        rows = (g.split(part, [1] * block) for part in (mine, inner, outside))
        return [Row(x=x, inner=inside, outside=beyond) for x, inside, beyond in zip(*rows, strict=True)]

    def _from_before(self, layer: PackedLayer, known: str, place: str) -> list[str]:
        """What is known before the block gives to each dimension's rows of a layer, shapes (R, N)."""
        g, block = self.g, self.network.block
        weight = g.add("Reshape", self._part(layer.before, place), g.integers([block * layer.rows, -1]))
        return g.split(g.add("MatMul", weight, known), [layer.rows] * block)

    def _part(self, ragged: Ragged, place: str) -> str:
        """One block's array, flat."""
        g = self.g
        start, stop = (g.add("Gather", g.constant(edges), place, axis=0) for edges in (ragged.starts, ragged.stops))
        return g.add("Slice", g.constant(ragged.flat), start, stop)

    def _inside(self, rows: list[Row], pending: list[list[str]], weights: list[list[str]]) -> list[str]:
        """Solve the block's dimensions one after the other.

        Args:
            rows: arguments of the splines.
            pending: for each layer and dimension, its rows as far as they are known before the block, (R, N).
            weights: for each layer and dimension, shapes (R, new columns).

        Returns:
            What is new: values (B, N), then units (B R, N) of each hidden layer.
        """
        g, spline, inverse = self.g, self.problem.spline, self.problem.inverse
        fresh = [""] * len(pending)
        for d, row in enumerate(rows):
            raw = pending[-1][d]
            if d:
                raw = g.add("Gemm", weights[-1][d], fresh[-1], raw)
            new = spline_value(g, row, raw, spline, inverse=inverse)
            for level in range(len(pending)):
                fresh[level] = new if d == 0 else g.add("Concat", fresh[level], new, axis=0)
                if level + 1 < len(pending):
                    new = g.add("Relu", g.add("Gemm", weights[level][d], fresh[level], pending[level][d]))
        return fresh


def _subgraph(inputs: list[str], outputs: list[str], nodes: list[Any]) -> Any:
    """A loop's body; the tensors that it carries grow, so that their first axis has no length."""
    onnx = require_onnx()
    integer, boolean, real = (getattr(onnx.TensorProto, name) for name in ("INT64", "BOOL", "FLOAT"))

    def carried(names: list[str]) -> list[Any]:
        return [onnx.helper.make_tensor_value_info(name, real, [None, None]) for name in names]

    number, go_on, *known = inputs
    goes_on, *grown = outputs
    return onnx.helper.make_graph(
        nodes,
        "block",
        [
            onnx.helper.make_tensor_value_info(number, integer, []),
            onnx.helper.make_tensor_value_info(go_on, boolean, []),
            *carried(known),
        ],
        [onnx.helper.make_tensor_value_info(goes_on, boolean, []), *carried(grown)],
    )
