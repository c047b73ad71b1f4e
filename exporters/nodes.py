"""Writing parts of an ONNX graph by hand: nodes in order, constants stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.dependencies import require_onnx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Constants:
    """Initialisers of a graph; equal ones are stored once.

    Args:
        prefix: of their names.

    Attributes:
        tensors: onnx.TensorProto in the order in which they were asked for.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.tensors: list[Any] = []

    def name(self, value: NDArray[np.generic]) -> str:
        """Name of the initialiser with this value."""
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._names:
            self._names[key] = f"{self._prefix}constant_{len(self._names)}"
            self.tensors.append(require_onnx().numpy_helper.from_array(value, self._names[key]))
        return self._names[key]


class Nodes:
    """Nodes of one graph or subgraph.

    Args:
        prefix: of the names of their results.
        constants: where constants go; a subgraph shares those of the graph around it.

    Attributes:
        protos: onnx.NodeProto in order.
    """

    def __init__(self, prefix: str, constants: Constants) -> None:
        self._prefix, self._constants, self._count = prefix, constants, 0
        self.protos: list[Any] = []

    def floats(self, value: object) -> str:
        """A float32 constant."""
        return self._constants.name(np.array(value, dtype=np.float32))

    def integers(self, value: object) -> str:
        """An int64 constant."""
        return self._constants.name(np.array(value, dtype=np.int64))

    def constant(self, value: NDArray[np.generic]) -> str:
        """A constant of the array's own type."""
        return self._constants.name(value)

    def name(self, word: str) -> str:
        """A name of this graph's own; each word once."""
        return self._prefix + word

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node with one result, and return the result's name."""
        return self.add_several(operator, *inputs, outputs=[output or self._fresh()], **attributes)[0]

    def split(self, x: str, sizes: Sequence[int], *, axis: int = 0) -> list[str]:
        """Cut a tensor along an axis."""
        if len(sizes) == 1:
            return [x]
        outputs = [self._fresh() for _ in sizes]
        return self.add_several("Split", x, self.integers(list(sizes)), outputs=outputs, axis=axis)

    def add_several(self, operator: str, *inputs: str, outputs: list[str], **attributes: Any) -> list[str]:
        """Append a node with several results."""
        self.protos.append(require_onnx().helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def _fresh(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"
