"""How this package compiles numba functions.

All kernels release Python's global lock and are kept on disk. Of the "fast" floating-point liberties they take only
one, contraction of a product and a sum into one instruction: NaN stays NaN and sums keep their order.

Numba compiles again when a kernel's own file has changed, not when a file that it calls has. Who changes
`vector_math`, `products` or `tiles` deletes ``hepflows/__pycache__/*.nb?``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}


def kernel(function: F) -> F:
    """Compile a function that Python or other kernels call."""
    compiled: F = numba.njit(nogil=True, cache=True, **OPTIONS)(function)
    return compiled


def inline(function: F) -> F:
    """Compile a small function that becomes part of its callers, so that their loops stay vector loops."""
    compiled: F = numba.njit(forceinline=True, **OPTIONS)(function)
    return compiled
