"""Sizes that a file states are believed only as far as the file and the machine can bear them.

A few bytes can declare terabytes. Readers call these functions before they allocate anything of a stated size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hepflows.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

MAX_EXPANSION = 2000
"""Decompressed over stored size; deflate, the usual compression, reaches 1032 at best."""
_FREE_BYTES = 2**26
MAX_TEXT_BYTES = 2**26


def require_plausible(n_bytes: int, path: Path, *, where: object) -> None:
    """Refuse values that cannot all be in a file, however well they were compressed.

    Args:
        n_bytes: what the values take in memory.
        path: the file.
        where: which values, for messages.

    Raises:
        DataError: they take more than 2000 times the file's size, and more than 64 MiB.
    """
    size = path.stat().st_size
    if n_bytes > max(_FREE_BYTES, MAX_EXPANSION * size):
        raise DataError(
            "the file declares more than it can hold",
            where=where,
            expected=f"at most {MAX_EXPANSION} times the {size} bytes of the file",
            found=f"{n_bytes} bytes",
            remedy="check the file; values that were never written count as well, so write it again with what it has",
        )


def require_memory(n_bytes: int, *, where: object) -> None:
    """Refuse to read more at once than this machine has memory.

    Raises:
        DataError: naming both sizes.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else n_bytes
    if n_bytes > there:
        raise DataError(
            "too much to read into memory at once",
            where=where,
            expected=f"at most the {there / 2**30:.1f} GiB of this machine",
            found=f"{n_bytes / 2**30:.1f} GiB",
            remedy="read a part of it: --read first=N or --read part=[0.0,0.1]",
        )
