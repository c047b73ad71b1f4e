"""JSON and TOML of unknown origin: files of bounded size, values of bounded depth and size, no code."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

from hepflows.limits import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

_MAX_DEPTH = 100
_INTEGERS = range(-(2**63), 2**64)  # more fit neither float nor any array


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The text of a file in UTF-8.

    Raises:
        ValueError: it is larger than `max_bytes`, or not UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    return data.decode("utf-8")


def parse_json(text: str) -> Any:
    """Values of a JSON text.

    Raises:
        ValueError: it is no JSON, nested more than 100 deep, or has an integer of more than 64 bits.
    """
    try:
        return _bounded(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Tables of a TOML text.

    Raises:
        ValueError: it is no TOML, nested more than 100 deep, or has an integer of more than 64 bits.
    """
    try:
        content: dict[str, Any] = _bounded(tomllib.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content


def _bounded(content: Any) -> Any:
    level = [content]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(value, int) and value not in _INTEGERS for value in level):
            raise ValueError("an integer of more than 64 bits")
        level = [inner for value in level if isinstance(value, dict | list)
                 for inner in (value.values() if isinstance(value, dict) else value)]  # fmt: skip
        if not level:
            return content
    raise ValueError("nested too deeply")
