"""The golden file: noise, conditions and expected output, with which any host can test itself at load.

Layout, little-endian: 8 bytes magic, int64 N, C, Z, D, then float64 cond (N, C), noise (N, Z) and expected
(N, D), row by row. Condition and noise are float32 numbers written as float64; expected is what torch gives
in float64. Of weighted events the last number of a row of `expected` is the weight, and D counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from exporters.tolerance import Quantiles
from hepflows.errors import ArtefactError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

MAGIC: Final = b"HEPFLOW1"
ALL: Final = slice(None)
_HEADER: Final = len(MAGIC) + 4 * 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Content of a golden file.

    Attributes:
        cond: shape (N, C) float64.
        noise: shape (N, Z) float64.
        expected: shape (N, D) float64, after the hit threshold; the outputs of the graph column by column.
    """

    cond: NDArray[np.float64]
    noise: NDArray[np.float64]
    expected: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a host's output agrees with the expected one.

    Attributes:
        differences: over all events in which no element is zero on one side only.
        flips: elements that are zero on one side only. Dark voxels and hit thresholds are steps: the smallest
            rounding takes a voxel across, and may change its whole layer with it.
    """

    differences: Quantiles
    flips: int


def write_golden(path: Path, golden: Golden) -> None:
    """Write the file; the caller makes it atomic."""
    arrays = (golden.cond, golden.noise, golden.expected)
    shape = np.array([len(golden.cond), *(array.shape[1] for array in arrays)], dtype="<i8")
    with path.open("wb") as handle:
        handle.write(MAGIC + shape.tobytes())
        for array in arrays:
            handle.write(np.ascontiguousarray(array, dtype="<f8").tobytes())


def read_golden(path: str | os.PathLike[str]) -> Golden:
    """Read a golden file.

    Raises:
        ArtefactError: no golden file, truncated, or of another version.
    """
    path = Path(path)
    remedy = "export the generator again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError("golden file cannot be read", where=path, found=error.strerror, remedy=remedy) from error
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEADER:
        raise ArtefactError(
            "not a golden file of this version",
            where=path,
            expected=MAGIC,
            found=data[: len(MAGIC)],
            remedy=remedy,
        )
    n, *widths = (int(value) for value in np.frombuffer(data, "<i8", 4, len(MAGIC)))
    if min(n, *widths[1:]) < 1 or widths[0] < 0 or len(data) != _HEADER + 8 * n * sum(widths):
        raise ArtefactError(
            "golden file is truncated or altered",
            where=path,
            expected=f"{_HEADER + 8 * n * sum(widths)} bytes for {n} events of widths {widths}",
            found=f"{len(data)} bytes",
            remedy=remedy,
        )
    values = np.frombuffer(data, "<f8", n * sum(widths), _HEADER).astype(np.float64)
    parts = np.split(values, np.cumsum([n * width for width in widths])[:-1])
    cond, noise, expected = (part.reshape(n, width) for part, width in zip(parts, widths, strict=True))
    return Golden(cond=cond, noise=noise, expected=expected)


def agreement(
    x: NDArray[np.floating], expected: NDArray[np.float64], *, steps: bool = True, columns: slice = ALL
) -> Agreement:
    """Compare a host's output (N, D) with the expected one.

    Args:
        x: what a host gives.
        expected: what it should give.
        steps: leave out events in which an element is zero on one side only, and count such elements; otherwise they
            are differences like others.
        columns: what is compared; the others only tell which events to leave out.
    """
    flipped = ((x == 0) != (expected == 0)) & steps
    differences = (x[:, columns].astype(np.float64) - expected[:, columns])[~flipped.any(axis=1)]
    return Agreement(
        differences=Quantiles.of(differences if differences.size else np.array([np.inf])),
        flips=int(flipped[:, columns].sum()),
    )


def outputs_apart(width: int, *, weighted: bool) -> dict[str, slice]:
    """Columns of each output, by name, of rows of `width` numbers."""
    return {"x": slice(0, width - 1), "weight": slice(width - 1, width)} if weighted else {"x": slice(0, width)}


def disagreements(found: Agreement, bound: Quantiles) -> list[str]:
    """In words, what lies outside the tolerance; empty if the host is right.

    Golden events keep off every step, so that no flip is excused.
    """
    words = found.differences.exceeding(bound)
    return [*words, f"{found.flips} values are zero on one side only"] if found.flips else words


def choose_rows(cond: NDArray[np.float32], stable: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Pick events for a golden file, spread over the first condition.

    Args:
        cond: shape (M, C).
        stable: shape (M,), events that keep off every step; at least one.
        n: number of groups of similar first condition, of each of which one event is taken.
    """
    order = np.flatnonzero(stable)
    if cond.shape[1]:
        order = order[np.argsort(cond[stable, 0], kind="stable")]
    return np.array([group[0] for group in np.array_split(order, min(n, len(order)))], dtype=np.int64)
