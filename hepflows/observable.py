"""What the physics packages hand to the validation: measured quantities and pictures, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Observable:
    """Values of one observable.

    Attributes:
        name: stable identifier, also the key in reports (``e_tot_ratio``, ``width_eta_1`` ...).
        label: axis label for plots, may hold mathtext.
        unit: unit of the values, empty for dimensionless ones.
        group: heading under which a report shows it.
        values: shape (N,), or (N, M) if an event has several entries. NaN marks an entry that is not defined
            (the centre of an empty layer).
        log: whether a plot should use a logarithmic axis for it.
        edges: published histogram edges, or None to derive them from the reference.
    """

    name: str
    label: str
    unit: str
    group: str
    values: NDArray[np.float64] | NDArray[np.float32]
    log: bool = False
    edges: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """A two-dimensional picture of one or many events, such as the mean energy in the cells of a layer.

    Attributes:
        name: stable identifier (``layer_0``).
        title: heading for plots.
        x_label: label of the horizontal axis with its unit.
        y_label: label of the vertical axis with its unit.
        value_label: label of the colour scale with its unit.
        x_corners: horizontal positions of the cell corners, shape (K+1, M+1), in the unit of `x_label`.
        y_corners: vertical positions of the cell corners, shape (K+1, M+1), in the unit of `y_label`.
        values: content of the cells, shape (K, M).
    """

    name: str
    title: str
    x_label: str
    y_label: str
    value_label: str
    x_corners: NDArray[np.float64]
    y_corners: NDArray[np.float64]
    values: NDArray[np.float64]
