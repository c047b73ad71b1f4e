"""Which parts of a layer's weight are multiplied: panels of rows and of columns that skip what is always masked.

Where rows are sorted by degree a mask is a staircase, about half of it zeros. Rows are cut into panels; a panel takes
the columns that any of its rows reaches, and what is masked inside of it, the steps of the staircase, is set to zero in
a copy. For the gradient of the input columns are cut likewise. This holds for any mask, and saves where it is a
staircase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_ROWS, _COLUMNS = 48, 24
"""Rows and columns of a panel of a hidden layer: a few times what a product computes at once."""

_OUTPUT_ROWS = 192
"""Rows of a panel of the output layer: their raw parameters of a tile of events fit the second-level cache."""

_GROUPS = 8
"""Groups of output panels whose shares in the gradient of the units are summed apart: most threads that help."""


@dataclass(frozen=True)
class LayerPlan:
    """How a weight of shape (out, in) is cut.

    Attributes:
        rows: shape (number, 4): first row of a panel, one past the last, the columns that all of these rows reach, the
            columns that any of them reaches. Long and short panels alternate, so that any part of them is as much work
            as another of the same size.
        columns: shape (number, 3): first column of a panel, one past the last, and an even number of rows that do not
            reach it.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """Panels of rows in groups of about the same work."""
        number = min(_GROUPS, len(self.rows))
        return [np.ascontiguousarray(self.rows[group::number]) for group in range(number)]


@dataclass(frozen=True)
class LayerForm:
    """What a layer of a conditioner is, apart from its weight and bias.

    Attributes:
        plan: how the weight is cut.
        mask: shape (out, in) of 0 and 1, of the weight's type, or None.
        earlier: number of the hidden layer whose sums are added to this one's, or None.
        dropout: probability of dropping a unit.
    """

    plan: LayerPlan
    mask: Tensor | None = None
    earlier: int | None = None
    dropout: float = 0.0


@dataclass(frozen=True)
class Layer:
    """One layer of a conditioner: max(0, weight input + bias [+ the sums of an earlier layer]), the last without max.

    Attributes:
        weight: shape (out, in).
        bias: shape (out,).
        form: its mask and its place in the network.
    """

    weight: Tensor
    bias: Tensor
    form: LayerForm


def plan_layer(shape: tuple[int, int], mask: Tensor | None, *, unit: int = 0) -> LayerPlan:
    """Cut a weight into panels.

    Args:
        shape: of the weight, (out, in).
        mask: shape (out, in), zero where the weight is without effect; None if nowhere.
        unit: for an output layer, the number of rows of a feature, which stay together; 0 for hidden layers.
    """
    rows, columns = shape
    step = unit * max(1, _OUTPUT_ROWS // unit) if unit else _ROWS
    allowed = np.ones(shape, dtype=bool) if mask is None else mask.detach().cpu().numpy() != 0
    some = allowed.any(1)
    full = np.where(allowed.all(1), columns, allowed.argmin(1))
    reach = np.where(some, columns - allowed[:, ::-1].argmax(1), 0)
    panels = [
        (start, min(start + step, rows), full[start : start + step].min(), reach[start : start + step].max())
        for start in range(0, rows, step)
    ]
    panels.sort(key=lambda panel: panel[3])
    half = len(panels) // 2
    alternating = [panel for pair in zip(panels[:half], panels[::-1][:half], strict=True) for panel in pair]
    middle = panels[half : len(panels) - half]
    lowest = np.where(allowed.any(0), allowed.argmax(0), rows)
    strips = [
        (start, min(start + _COLUMNS, columns), lowest[start : start + _COLUMNS].min() // 2 * 2)
        for start in range(0, columns, _COLUMNS)
    ]
    return LayerPlan(
        np.array(alternating + middle, dtype=np.int64).reshape(-1, 4), np.array(strips, dtype=np.int64).reshape(-1, 3)
    )
