"""Parquet through pyarrow, which the extra ``parquet`` brings."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from hepflows.errors import MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"PAR1"
METADATA: Final = b"hepflows"
"""Key under which a package of this project keeps its description of a file, a JSON text with a schema."""


def pyarrow_parquet() -> Any:
    """The module pyarrow.parquet.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingDependencyError(
            "reading and writing Parquet needs pyarrow", remedy='pip install "hepflows[parquet]"'
        ) from None
    return parquet


def stored_schema(path: Path) -> str | None:
    """Schema of the description in a Parquet file; None if it has none, is damaged, or pyarrow is missing."""
    with contextlib.suppress(Exception):  # whatever a damaged file makes the parser raise
        metadata = pyarrow_parquet().read_schema(path).metadata or {}
        schema = json.loads(metadata[METADATA])["schema"]
        return schema if isinstance(schema, str) else None
    return None


def is_flat(path: Path) -> bool:
    """Whether a Parquet file can be read and has no lists or records in its columns, so one number an event at most."""
    with contextlib.suppress(Exception):  # whatever a damaged file makes the parser raise
        from pyarrow import types

        return not any(types.is_nested(field.type) for field in pyarrow_parquet().read_schema(path))
    return False
