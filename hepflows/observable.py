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
        cells: whether entry m of every event is the same cell of a detector, 0 where it is dark.
    """

    name: str
    label: str
    unit: str
    group: str
    values: NDArray[np.float64] | NDArray[np.float32]
    log: bool = False
    edges: NDArray[np.float64] | None = None
    cells: bool = False


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


@dataclass(frozen=True, kw_only=True)
class Discs:
    """One event as discs in a plane, such as the constituents of a jet.

    Attributes:
        title: what distinguishes the event (its mass, say).
        x_label: label of the horizontal axis with its unit.
        y_label: label of the vertical axis with its unit.
        x: horizontal positions, shape (K,).
        y: vertical positions, shape (K,).
        sizes: what the area of a disc stands for, not negative, shape (K,).
        reach: half the width of the part of the plane around the origin that is shown.
    """

    title: str
    x_label: str
    y_label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sizes: NDArray[np.float64]
    reach: float


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Numbers of each event that are compared between two samples in a published way.

    Attributes:
        kind: how they are compared, a name of `validation.sample_metrics.KINDS`.
        names: keys of the metrics in reports, as many as the kind has.
        label: what the numbers are.
        values: shape (N, ...), the first axis counts events; which further axes there are depends on the kind.
    """

    kind: str
    names: tuple[str, ...]
    label: str
    values: NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How the signal of each event is distributed along one direction, such as the energy in each layer.

    Attributes:
        name: stable identifier, part of the keys in reports (``longitudinal``).
        label: what runs along the direction, with its unit.
        value_label: what the values are once they are divided by the width of their part, with the unit.
        unit: unit of the direction, empty for numbers of layers.
        edges: where each part begins and ends, rising, shape (K + 1,), in this unit.
        values: what each part holds, shape (N, K), not negative.
    """

    name: str
    label: str
    value_label: str
    unit: str
    edges: NDArray[np.float64]
    values: NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a detector makes of particles of known energy.

    Attributes:
        truth: true energy of each event, positive, shape (N,).
        signal: measured energy, shape (N,), in the same unit.
        truth_label: label of the true energy, without unit.
        signal_label: label of the measured energy, without unit.
        unit: unit of both.
        profiles: how the signal is distributed; the first profile is that of the layers, front to back, whose
            correlations are compared.
    """

    truth: NDArray[np.float64]
    signal: NDArray[np.float64]
    truth_label: str
    signal_label: str
    unit: str
    profiles: tuple[Profile, ...]
