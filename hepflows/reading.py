"""Reading data files of other programs with messages that name the file and the part at fault."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError, HepflowsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a file library raises on damaged content into a `DataError` naming file and part."""
    try:
        yield
    except HepflowsError:
        raise
    except Exception as error:  # uproot and h5py raise a dozen different classes on damaged bytes
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise DataError(
            "cannot be read, the file seems truncated or damaged",
            where=f"{path}: {what}",
            found=f"{type(error).__name__}: {reason}",
            remedy="copy or produce the file again",
        ) from error


def require_numbers(values: NDArray[np.generic], *, where: str) -> NDArray[np.float64]:
    """Return `values` in double precision, raise `DataError` if they are no numbers."""
    if values.dtype.kind not in "fiub":
        raise DataError("not a number", where=where, expected="real numbers", found=f"type {values.dtype}")
    return values.astype(np.float64)


def require_shape(shape: tuple[int, ...], expected: tuple[int | None, ...], *, where: str) -> None:
    """Raise `DataError` unless `shape` has the extents `expected`; None stands for any."""
    if len(shape) != len(expected) or any(
        wanted is not None and wanted != found for wanted, found in zip(expected, shape, strict=True)
    ):
        text = ", ".join("N" if wanted is None else str(wanted) for wanted in expected)
        raise DataError("wrong shape", where=where, expected=f"({text})", found=shape)
