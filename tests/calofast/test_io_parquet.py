"""Parquet files of other programs, and such as cannot be used; round trips are those of test_io_round_trip."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from calofast.geometry import calogan
from calofast.reading import embedded_showers_path, iterate_showers, read_showers
from calofast.task import TASK
from calofast.writing import write_showers
from hepflows.errors import DataError, GeometryError, MissingDependencyError
from jetgen.task import TASK as JETS

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def showers():
    return read_showers(embedded_showers_path(), first=60)


@pytest.fixture
def foreign(showers):
    """Columns as another program might write them."""
    return {
        "incident_energy": pa.array(showers.incident_energy_gev.astype(float)),
        "voxels": pa.FixedSizeListArray.from_arrays(pa.array(showers.voxels_mev.astype(float).ravel()), 504),
        "theta": pa.array(np.linspace(0, 1, 60)),
        "label": pa.array(["e+"] * 60),
    }


def test_a_file_of_another_program(tmp_path, showers, foreign) -> None:
    pq.write_table(pa.table(foreign), tmp_path / "f.parquet", row_group_size=17)
    found = read_showers(tmp_path / "f.parquet", part=(0.25, 0.75))
    assert found.geometry == calogan()
    np.testing.assert_array_equal(found.voxels_mev, showers.voxels_mev[15:45])
    np.testing.assert_allclose(found.conditions["theta_rad"], np.linspace(0, 1, 60)[15:45], rtol=1e-6)
    chunks = list(iterate_showers(tmp_path / "f.parquet", chunk_size=23))
    assert [len(chunk) for chunk in chunks] == [23, 23, 14]
    np.testing.assert_array_equal(np.concatenate([chunk.voxels_mev for chunk in chunks]), showers.voxels_mev)


def test_showers_and_jets_are_told_apart(tmp_path, showers) -> None:
    from jetgen.reading import embedded_jets_path, read_jets
    from jetgen.writing import write_jets

    ours = write_showers(showers, tmp_path / "showers.parquet")
    theirs = write_jets(read_jets(embedded_jets_path(), first=10), tmp_path / "jets.parquet")
    assert (TASK.sniff(ours), JETS.sniff(ours)) == (True, False)
    assert (TASK.sniff(theirs), JETS.sniff(theirs)) == (False, True)
    assert "parquet" in str(TASK.describe(ours).rows)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.pop("voxels"), DataError, r"column 'voxels' is missing"),
        (lambda c: c.pop("incident_energy"), DataError, r"column 'incident_energy' is missing"),
        (lambda c: c.update(voxels=pa.array([[1.0]] * 60)), DataError, r"lists of fixed length"),
        (
            lambda c: c.update(voxels=pa.FixedSizeListArray.from_arrays(pa.array(np.ones(180)), 3)),
            GeometryError,
            r"no standard geometry has so many voxels",
        ),
        (
            lambda c: c.update(overflow=pa.FixedSizeListArray.from_arrays(pa.array(np.ones(120)), 2)),
            DataError,
            r"overflow: wrong shape",
        ),
        (lambda c: c.update(incident_energy=pa.array(["x"] * 60)), DataError, r"incident_energy: not a number"),
        (lambda c: c.update({k: v[:0] for k, v in c.items()}), DataError, r"holds no showers"),
        (
            lambda c: c.update(voxels=pa.FixedSizeListArray.from_arrays(pa.array(np.full(60 * 504, -1.0)), 504)),
            DataError,
            r"entry 0, .*: negative energy",
        ),
        (
            lambda c: c.update(voxels=pa.array([None, *[[1.0] * 504] * 59], pa.list_(pa.float64(), 504))),
            DataError,
            r"voxels: missing values",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path, foreign, change, error, message) -> None:
    change(foreign)
    pq.write_table(pa.table(foreign), tmp_path / "f.parquet")
    with pytest.raises(error, match=message):
        read_showers(tmp_path / "f.parquet")


def test_a_geometry_that_does_not_match(tmp_path, foreign) -> None:
    from calofast.geometry import calochallenge

    pq.write_table(pa.table(foreign), tmp_path / "f.parquet")
    with pytest.raises(GeometryError, match="does not match the data"):
        read_showers(tmp_path / "f.parquet", geometry=calochallenge("photons"))
    with pytest.raises(DataError, match="no such scalar"):
        read_showers(tmp_path / "f.parquet", conditions=["eta"])


def test_damaged_files(tmp_path, showers) -> None:
    path = write_showers(showers, tmp_path / "f.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="truncated or damaged"):
        read_showers(path)
    assert not TASK.sniff(path)


def test_without_pyarrow(tmp_path, showers, monkeypatch) -> None:
    path = write_showers(showers, tmp_path / "f.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"hepflows\[parquet\]"):
        read_showers(path)
    with pytest.raises(MissingDependencyError, match=r"hepflows\[parquet\]"):
        write_showers(showers, tmp_path / "g.parquet")
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.parquet"]
