"""Processes, shares, interruptions and files of a simulation, with a double of Geant4 that is quick and exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from calofast.describe import describe_file
from calofast.reading import read_showers
from calofast.truth import Request, blocks
from calofast.truth_blocks import open_blocks
from calofast.truth_file import simulate
from calofast.truth_workers import SimulationError
from hepflows.errors import ConfigError, DataError, Interrupted, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

# worker processes import the double by its name, so it must be a module
DOUBLE = """
import os, time
import numpy as np
from calofast.truth_engine import Deposits
from hepflows.errors import MissingDependencyError

class Engine:
    versions = {"geant4": "double"}
    def __init__(self, pause=0.0, fatal=None):
        self.pause, self.fatal, self.count = pause, fatal, 0
    def shower(self, energy_gev, seed):
        time.sleep(self.pause)
        self.count += 1
        if self.fatal is not None and self.count > self.fatal:
            os.abort()
        rng = np.random.default_rng(seed)
        position = rng.normal(0.0, 40.0, (20, 3))
        return Deposits(position_mm=position, energy_mev=rng.random(20) * energy_gev * 50, cpu_seconds=0.5)

def quick(detector, pdg, physics):
    return Engine()

def slow(detector, pdg, physics):
    return Engine(pause=0.02)

def fatal(detector, pdg, physics):
    return Engine(fatal=70)

def absent(detector, pdg, physics):
    raise MissingDependencyError("not here", remedy="install it")

def broken(detector, pdg, physics):
    return None
"""


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "double_of_geant4.py").write_text(DOUBLE)
    monkeypatch.syspath_prepend(folder)
    import importlib

    yield importlib.import_module("double_of_geant4")
    sys.modules.pop("double_of_geant4", None)


def request(n: int = 100, **changes: Any) -> Request:
    return replace(Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=n, seed=3), **changes)


def same(first: Path, second: Path) -> bool:
    with h5py.File(first) as a, h5py.File(second) as b:
        return set(a) == set(b) and all(np.array_equal(a[name][()], b[name][()]) for name in a)


def test_file_is_read_as_any_other(tmp_path: Path, double: ModuleType) -> None:
    out = simulate(request(), tmp_path / "truth.h5", open_engine=double.quick)
    showers = read_showers(out)
    assert len(showers) == 100
    assert (showers.geometry.name, showers.pdg) == ("calogan", -11)
    assert showers.overflow_mev is not None
    assert not showers.conditions  # the cost of a shower is none of its properties
    assert showers.provenance["geant4"] == "double"
    with h5py.File(out) as file:
        assert file["g4_seconds"].shape == (100, 1)
        assert file["g4_seconds"].attrs["unit"] == "s"
        assert file["energy"].attrs["unit"] == "GeV"
        np.testing.assert_array_equal(file["g4_seconds"][()], 0.5)
    assert describe_file(out).format == "calogan"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_cylinders_are_written_as_calochallenge(tmp_path: Path, double: ModuleType) -> None:
    asked = Request.of("pbar45", "gamma", energy_gev=(1.0, 10.0), n=40, seed=5, spectrum="log-uniform")
    out = simulate(asked, tmp_path / "fine.h5", open_engine=double.quick)
    showers = read_showers(out)
    assert showers.voxels_mev.shape == (40, 6480)
    assert showers.geometry.name == "pbar45"
    assert (tmp_path / "fine.xml").exists()
    assert describe_file(out).format == "calochallenge"
    with h5py.File(out) as file:
        assert file["showers"].attrs["unit"] == "MeV"
        assert len(file["g4_seconds"]) == 40


def test_processes_do_not_matter(tmp_path: Path, double: ModuleType) -> None:
    one = simulate(request(), tmp_path / "one.h5", open_engine=double.quick)
    three = simulate(request(), tmp_path / "three.h5", processes=3, open_engine=double.slow)
    assert same(one, three)


def test_shares_join_to_the_whole(tmp_path: Path, double: ModuleType) -> None:
    whole = read_showers(simulate(request(), tmp_path / "whole.h5", open_engine=double.quick))
    parts = [
        read_showers(simulate(request(bounds=bounds), tmp_path / f"{bounds[0]}.h5", open_engine=double.quick))
        for bounds in ((0, 33), (33, 66), (66, 100))
    ]
    np.testing.assert_array_equal(np.concatenate([part.voxels_mev for part in parts]), whole.voxels_mev)
    np.testing.assert_array_equal(
        np.concatenate([part.incident_energy_gev for part in parts]), whole.incident_energy_gev
    )


def test_it_goes_on_after_a_death(tmp_path: Path, double: ModuleType) -> None:
    out = tmp_path / "truth.h5"
    with pytest.raises(SimulationError, match="SIGABRT") as died:
        simulate(request(), out, open_engine=double.fatal)
    assert "--resume" in str(died.value)
    assert not out.exists()
    kept = open_blocks(out, request(), resume=True, force=False)
    assert kept.n_done == 64  # two blocks were finished
    with pytest.raises(OutputError, match="interrupted simulation"):
        simulate(request(), out, open_engine=double.quick)
    with pytest.raises(OutputError, match="another one") as other:
        simulate(request(seed=4), out, resume=True, open_engine=double.quick)
    assert "seed 4" in str(other.value)
    times = {path.name: path.stat().st_mtime_ns for path in kept.folder.glob("*.npz")}
    simulated = simulate(request(), out, resume=True, open_engine=double.quick)
    assert same(simulated, simulate(request(), tmp_path / "fresh.h5", open_engine=double.quick))
    assert len(times) == 2
    assert not kept.folder.exists()


def test_force_starts_anew(tmp_path: Path, double: ModuleType) -> None:
    out = tmp_path / "truth.h5"
    with pytest.raises(SimulationError):
        simulate(request(), out, open_engine=double.fatal)
    simulate(request(seed=9), out, force=True, open_engine=double.quick)
    with pytest.raises(OutputError, match="exists already"):
        simulate(request(seed=9), out, open_engine=double.quick)
    before = read_showers(out).voxels_mev
    simulate(request(seed=10), out, force=True, open_engine=double.quick)
    assert not np.array_equal(read_showers(out).voxels_mev, before)


def test_a_damaged_block_is_named(tmp_path: Path, double: ModuleType) -> None:
    out = tmp_path / "truth.h5"
    with pytest.raises(SimulationError):
        simulate(request(), out, open_engine=double.fatal)
    kept = open_blocks(out, request(), resume=True, force=False)
    victim = next(kept.folder.glob("*.npz"))
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(OutputError, match="damaged") as damaged:
        simulate(request(), out, resume=True, open_engine=double.quick)
    assert damaged.value.where == str(victim)
    assert not out.exists()
    victim.unlink()
    simulate(request(), out, resume=True, open_engine=double.quick)
    assert len(read_showers(out)) == 100


def test_what_a_process_meets_reaches_the_user(tmp_path: Path, double: ModuleType) -> None:
    from hepflows.errors import MissingDependencyError

    with pytest.raises(MissingDependencyError, match="install it"):
        simulate(request(), tmp_path / "truth.h5", processes=2, open_engine=double.absent)
    with pytest.raises(SimulationError, match="AttributeError"):
        simulate(request(), tmp_path / "truth.h5", open_engine=double.broken)
    assert list(tmp_path.glob(".truth*")) == []  # nothing was finished, so nothing is kept


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"processes": 0}, ConfigError),
        ({"resume": True, "force": True}, ConfigError),
        ({"out": "truth.root"}, OutputError),
        ({"out": "no/rights/truth.h5"}, OutputError),
    ],
)
def test_bad_settings(tmp_path: Path, double: ModuleType, settings: dict[str, Any], error: type[Exception]) -> None:
    out = tmp_path / settings.pop("out", "truth.h5")
    if "no" in out.parts:
        (tmp_path / "no").write_text("a file where a directory should be")
    with pytest.raises(error):
        simulate(request(), out, open_engine=double.quick, **settings)
    assert not out.exists()


SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it would be ignored
sys.path.insert(0, {folder!r})
import double_of_geant4 as double
from calofast.truth import Request
from calofast.truth_file import simulate
from hepflows.errors import HepflowsError

if __name__ == "__main__":
    try:
        simulate(Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=400, seed=3), {out!r},
                 processes=2, open_engine=double.slow)
    except HepflowsError as error:
        print(error)
        raise SystemExit(error.exit_code)
"""


def _start(tmp_path: Path, out: Path) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path / "modules"), out=str(out)))
    running = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    folder = out.with_name(f".{out.name}.blocks")
    until = time.monotonic() + 60
    while len(list(folder.glob("[0-9]*.npz"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return running


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, double: ModuleType) -> None:
    out = tmp_path / "truth.h5"
    running = _start(tmp_path, out)
    os.killpg(running.pid, signal.SIGINT)  # a terminal tells the whole group
    said, _ = running.communicate(timeout=60)
    assert running.returncode == Interrupted.exit_code == 130
    assert "--resume" in said
    assert not out.exists()
    asked = Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=400, seed=3)
    kept = open_blocks(out, asked, resume=True, force=False)
    assert 64 <= kept.n_done < 400
    assert json.loads((kept.folder / "request.json").read_text())["seed"] == 3
    simulate(asked, out, resume=True, open_engine=double.quick)
    assert same(out, simulate(asked, tmp_path / "fresh.h5", open_engine=double.quick))


def test_a_kill_leaves_no_half_block(tmp_path: Path, double: ModuleType) -> None:
    out = tmp_path / "truth.h5"
    running = _start(tmp_path, out)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    asked = Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=400, seed=3)
    simulate(asked, out, resume=True, open_engine=double.quick)
    assert len(blocks(asked)) == 13
    assert same(out, simulate(asked, tmp_path / "fresh.h5", open_engine=double.quick))


def test_columns_have_no_place_in_root_files(tmp_path: Path, make_showers: Callable[..., Any]) -> None:
    from calofast.writing import write_showers

    with pytest.raises(DataError, match="only HDF5 files hold further columns"):
        write_showers(make_showers(3), tmp_path / "a.root", columns={"g4_seconds": (np.zeros((3, 1)), "s")})
