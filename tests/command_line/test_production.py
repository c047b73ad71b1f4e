"""Productions of real showers and jets, with real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from calofast.reading import read_showers
from hepflows.cli import main
from hepflows.files import sha256_of
from jetgen.reading import embedded_jets_path, read_jets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JETS = """
task = "jetgen"
preset = "exact"
[data]
first = 300
particles = 5
[coupling]
blocks = 2
width = 8
depth = 1
[training]
epochs = 1
batch_size = 100
"""


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def showers(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes at once."""
    out = tmp_path_factory.mktemp("whole") / "showers.h5"
    assert run("generate", made / "run" / "student", *ENERGIES, "--out", out) == 0
    return out


ENERGIES = ("--energy", "10..50GeV", "-n", 2000, "--seed", 7)


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A cluster of two worker processes, addressed by tcp://."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.mark.parametrize("size", [256, 768, 4096])
def test_files_are_the_same_to_the_byte_for_any_shards(made: Path, showers: Path, tmp_path: Path, size: int) -> None:
    student, prod = made / "run" / "student", tmp_path / "prod"
    assert run("generate", student, *ENERGIES, "--out", prod, "--shard-size", size, "--batch", 512) == 0
    assert run("inspect", prod) == 0
    assert run("merge", prod, "--out", tmp_path / "merged.h5") == 0
    assert sha256_of(tmp_path / "merged.h5") == sha256_of(showers)


def test_two_workers_and_the_loss_of_one(made: Path, showers: Path, workers: Any, tmp_path: Path) -> None:
    student, out = made / "run" / "student", tmp_path / "out.h5"
    killed: list[int] = []

    def kill() -> None:
        records = tmp_path / ".out.h5.shards" / "records"
        while not list(records.glob("*.json")):
            time.sleep(0.02)
        killed.append(workers.workers[0].pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    address = workers.scheduler_address
    assert run("generate", student, *ENERGIES, "--out", out, "--dask", address, "--shard-size", 256) == 0
    killer.join(timeout=10)
    assert killed, "a worker was killed while it worked"
    assert sha256_of(out) == sha256_of(showers)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_errors_of_workers_are_those_of_one_process(made: Path, workers: Any, refused) -> None:
    dask = ("--dask", workers.scheduler_address)
    student = made / "run" / "student"
    refused("generate", student, *ENERGIES, "--out", "x.txt", *dask, says=("the suffix tells no format",))


@pytest.mark.parametrize("by_workers", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_jets(request: pytest.FixtureRequest, tmp_path: Path, by_workers: bool) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "jets.toml").write_text(JETS)
    assert run("train", tmp_path / "jets.toml", "--data", embedded_jets_path(), "--out", tmp_path / "run") == 0
    wanted = ("generate", tmp_path / "run" / "exact", "-n", 700, "--seed", 3)
    assert run(*wanted, "--out", tmp_path / "whole.h5") == 0
    shards: tuple[object, ...] = ("--shard-size", 256)
    if by_workers:
        shards = (*shards, "--dask", request.getfixturevalue("workers").scheduler_address)
    assert run(*wanted, "--out", tmp_path / "again.h5", *shards) == 0
    assert sha256_of(tmp_path / "again.h5") == sha256_of(tmp_path / "whole.h5")
    assert run(*wanted, "--out", tmp_path / "prod", "--format", "parquet", *shards) == 0
    assert run("merge", tmp_path / "prod", "--out", tmp_path / "merged.root") == 0
    jets, merged = (read_jets(tmp_path / name) for name in ("whole.h5", "merged.root"))
    np.testing.assert_array_equal(merged.particles, jets.particles)
    np.testing.assert_array_equal(merged.mask, jets.mask)


def test_exported_files_and_root(made: Path, tmp_path: Path) -> None:
    wanted = ("generate", made / "student.onnx", *ENERGIES)
    assert run(*wanted, "--out", tmp_path / "prod", "--format", "root", "--shard-size", 1024) == 0
    assert run(*wanted, "--out", tmp_path / "whole.h5") == 0
    assert run("merge", tmp_path / "prod", "--out", tmp_path / "merged.h5") == 0
    whole, merged = (read_showers(tmp_path / name) for name in ("whole.h5", "merged.h5"))
    np.testing.assert_array_equal(whole.incident_energy_gev, merged.incident_energy_gev)
    # ONNX Runtime gives the same events within rounding
    np.testing.assert_allclose(merged.voxels_mev, whole.voxels_mev, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("out", ["one.h5", "prod"])
def test_a_signal_leaves_no_half_written_file(made: Path, tmp_path: Path, out: str) -> None:
    """SIGTERM to the real process in the middle of its work."""
    command = [sys.executable, "-m", "hepflows", "generate", made / "run" / "student", "--energy", "10..50GeV"]
    command += ["-n", 10_000_000, "--seed", 1, "--out", tmp_path / out, "--threads", 1]
    command += ["--shard-size", 256] if out == "prod" else []
    log = tmp_path / "log"
    with log.open("w") as stream, subprocess.Popen([str(each) for each in command], stderr=stream) as process:
        try:
            pattern = f".{out}.*.tmp" if out == "one.h5" else "prod/records/*.json"
            while not list(tmp_path.glob(pattern)):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert process.wait(240) == 130
        finally:
            process.kill()
    shown = log.read_text()
    assert "stopped: " in shown
    assert "Traceback" not in shown
    if out == "one.h5":
        assert [path.name for path in tmp_path.iterdir()] == ["log"]
        return
    assert "--resume continues it" in shown
    assert not list((tmp_path / "prod").glob(".*.tmp"))
    for record in (tmp_path / "prod" / "records").iterdir():
        assert len(read_showers(tmp_path / "prod" / record.stem)) == 256


@pytest.mark.parametrize("out", ["prod", "sharded.h5"])
def test_disk_full(made: Path, tmp_path: Path, refused, out: str) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        command = ("generate", made / "run" / "student", *ENERGIES, "--shard-size", 256, "--out", f"new/{out}")
        refused(*command, says=("writing failed, nothing was left behind", "File too large"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
