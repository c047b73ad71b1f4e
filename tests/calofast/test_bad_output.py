"""An output that cannot be written gives a clear message, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
import uproot

from calofast.reading import embedded_showers_path, read_showers
from calofast.writing import write_showers
from hepflows.errors import OutputError


@pytest.fixture
def few():
    return read_showers(embedded_showers_path(), first=20)


@pytest.mark.parametrize("name", ["f.h5", "f.root", "f.parquet"])
def test_existing_output_needs_force(tmp_path, few, name):
    path = tmp_path / name
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"output exists already[\s\S]*--force") as caught:
        write_showers(few, path)
    assert caught.value.exit_code == 2
    assert path.read_text() == "precious"
    write_showers(few, path, force=True)
    assert len(read_showers(path)) == 20
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_existing_binning_file_needs_force(tmp_path):
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.full((2, 1), 1e3), np.ones((2, 368))
    showers = read_showers(path)
    (tmp_path / "out.xml").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.xml: output exists already"):
        write_showers(showers, tmp_path / "out.hdf5")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f.hdf5", "out.xml"]


@pytest.mark.parametrize("name", ["f.h5", "f.root", "f.parquet"])
def test_output_in_an_impossible_place(tmp_path, few, name):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OutputError, match=r"cannot be written here|writing failed"):
        write_showers(few, tmp_path / "file" / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_disk_full_while_writing_hdf5(tmp_path, few, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(h5py.Dataset, "__setitem__", full)
    with pytest.raises(OutputError, match=r"f\.h5: writing failed[\s\S]*No space left on device[\s\S]*free space"):
        write_showers(few, tmp_path / "f.h5")
    assert list(tmp_path.iterdir()) == []


def test_disk_full_while_writing_root(tmp_path, few, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(uproot.WritableTree, "extend", full)
    with pytest.raises(OutputError, match=r"f\.root: writing failed[\s\S]*No space left on device"):
        write_showers(few, tmp_path / "f.root")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["f.h5", "f.root", "f.parquet", "g.hdf5"])
@pytest.mark.parametrize("limit", [1000, 60_000])
def test_file_size_limit_of_the_operating_system(tmp_path, name, limit):
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        import numpy as np
        from calofast.geometry import calochallenge
        from calofast.reading import embedded_showers_path, read_showers
        from calofast.showers import Showers
        from calofast.writing import write_showers
        from hepflows.errors import OutputError
        showers = read_showers(embedded_showers_path(), first=1000)
        if {name!r} == "g.hdf5":
            rings, voxels = calochallenge("photons"), np.random.default_rng(0).random((1000, 368))
            showers = Showers(geometry=rings, incident_energy_gev=np.ones(1000), voxels_mev=voxels)
        try:
            write_showers(showers, Path({str(tmp_path)!r}) / {name!r})
        except OutputError as error:
            print(error)
            sys.exit(error.exit_code)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert "writing failed, nothing was left behind" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
