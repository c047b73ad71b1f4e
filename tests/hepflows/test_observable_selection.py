"""Which rows of a table of observables are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hepflows.errors import ConfigError, DataError
from hepflows.feature_table import Column, FeatureTable
from hepflows.observable_files import read_observables
from hepflows.table_files import write_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.arange(100.0)[:, None]
    write_table(FeatureTable(features=(Column(name="x"),), values=values), tmp_path / "table.h5")
    return tmp_path / "table.h5"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, range(100)),
        ({"part": (0.8, 1.0)}, range(80, 100)),
        ({"part": (0.0, 0.5), "first": 3}, range(3)),
    ],
)
def test_rows_are_chosen_by_position(table: Path, selection: dict[str, object], expected: range) -> None:
    found = read_observables(table, observables=["x"], conditions=None, selection=selection)
    assert found.values[:, 0].tolist() == list(expected)


def test_what_a_table_cannot_be_selected_by_is_an_error(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"--read pdg: a table of observables is selected by position only"):
        read_observables(table, observables=["x"], conditions=None, selection={"pdg": 22})
    with pytest.raises(DataError, match="no events are left"):
        read_observables(table, observables=["x"], conditions=None, selection={"part": (0.0, 0.001)})
