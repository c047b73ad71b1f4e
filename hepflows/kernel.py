"""How this package compiles numba functions.

All kernels release Python's global lock and are kept on disk. Of the "fast" floating-point liberties they take only
one, contraction of a product and a sum into one instruction: NaN stays NaN and sums keep their order.

Numba compiles again when a kernel's own file has changed, not when a file that it calls has. Who changes
`vector_math`, `products` or `tiles` deletes ``hepflows/__pycache__/*.nb?``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_NO_CACHE = (
    "compiled kernels cannot be kept, as neither the package's directory nor the home directory can be written: each "
    "command compiles them anew; set NUMBA_CACHE_DIR to a directory that can be"
)
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}


def kernel(function: F) -> F:
    """Compile a function that Python or other kernels call."""
    try:
        compiled: F = numba.njit(nogil=True, cache=True, **OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        # a warning of one place is shown once
        warnings.warn(_NO_CACHE, stacklevel=1)
        compiled = numba.njit(nogil=True, **OPTIONS)(function)
    return compiled


def inline(function: F) -> F:
    """Compile a small function that becomes part of its callers, so that their loops stay vector loops."""
    compiled: F = numba.njit(forceinline=True, **OPTIONS)(function)
    return compiled
