"""Numbers with their errors, as tables print them."""

from __future__ import annotations


def with_error(value: float, error: float) -> str:
    """The error with two digits, and the value to the same place; three places if there is no error."""
    places = max(0, 1 - _exponent(error)) if error > 0 else 3
    return f"{value:.{places}f} ± {error:.{places}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
