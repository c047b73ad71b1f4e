"""Conditions by name become one matrix, or an error that names the entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepflows.conditions import stack_conditions
from hepflows.errors import ConditionError

NAMES = ("energy", "angle")


def test_columns_are_in_the_order_of_the_names() -> None:
    matrix = stack_conditions({"angle": [0.5, 0.25], "energy": [10, 20], "other": ["x"]}, NAMES, n=2)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[10.0, 0.5], [20.0, 0.25]]


@pytest.mark.parametrize(
    ("energy", "angle", "message", "where"),
    [
        ([1.0, 2.0], [0.5], "wrong shape", "angle"),
        ([[1.0], [2.0]], [0.5, 0.5], "wrong shape", "energy"),
        (1.0, 0.5, "wrong shape", "energy"),
        ([1.0, 2.0, 3.0], [0.5, np.nan, 0.5], "not a finite number", r"angle[1]"),
        ([1.0, 2.0], [0.5, 0.5], "wrong number of conditions", None),
    ],
)
def test_what_is_no_column_is_refused(energy: Any, angle: Any, message: str, where: str | None) -> None:
    with pytest.raises(ConditionError, match=message) as caught:
        stack_conditions({"energy": energy, "angle": angle}, NAMES, n=3)
    assert caught.value.where == where
