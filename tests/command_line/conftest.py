"""One tiny teacher and student made by the real commands, bad files, and how a refused command must behave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import uproot

from calofast.reading import embedded_showers_path
from hepflows.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

EPLUS = embedded_showers_path()
CELLS = Path(__file__).parents[1] / "data" / "eplus_cells.root"
CONFIG = """
task = "calofast"
[data]
first = 200
[layer_energies]
blocks = 2
hidden = [8]
training = { epochs = 3, batch_size = 60 }
[teacher]
blocks = 2
hidden = [16]
training = { epochs = 3, batch_size = 60 }
[student]
hidden = [16]
training = { epochs = 2, batch_size = 60 }
"""


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, the exported student, showers of both, and bad files."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "config.toml").write_text(CONFIG)
    assert run("train", folder / "config.toml", "--data", EPLUS, "--out", folder / "run", "--device", "cpu") == 0
    assert run("export", folder / "run" / "student", "--out", folder / "student.onnx") == 0
    for name in ("teacher", "student"):
        like = ("--like", EPLUS, "--part", "0.8:1.0", "-n", 300)
        assert run("generate", folder / "run" / name, *like, "--seed", 7, "--out", folder / f"{name}.h5") == 0
    bad = folder / "bad"
    bad.mkdir()
    for name, change in BAD_CONTENT.items():
        write_calogan(bad / name, change)
    (bad / "text.h5").write_text("energy,cell\n" * 50)
    (bad / "directory.h5").mkdir()
    (bad / "cut.h5").write_bytes(EPLUS.read_bytes()[: EPLUS.stat().st_size // 2])
    (bad / "cut.root").write_bytes(CELLS.read_bytes()[: CELLS.stat().st_size // 2])
    with uproot.open(CELLS) as source, uproot.recreate(bad / "branch.root") as file:
        branches = {k: v for k, v in source["fancy_tree"].arrays(library="np").items() if k != "cell_17"}
        file.mktree("fancy_tree", {name: values.dtype for name, values in branches.items()})
        file["fancy_tree"].extend(branches)
    with h5py.File(bad / "rings.hdf5", "w") as file:
        file["incident_energies"] = np.linspace(5e3, 5e4, 200)[:, None]
        file["showers"] = np.random.default_rng(0).random((200, 368)) * 50
    return folder


def write_calogan(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    with h5py.File(EPLUS) as source:
        arrays = {name: source[name][:200] for name in ("energy", "layer_0", "layer_1", "layer_2", "overflow")}
    change(arrays)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def put(name: str, index: tuple[int, ...], value: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda arrays: arrays[name].__setitem__(index, value)


BAD_CONTENT: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "missing.h5": lambda a: a.pop("layer_1"),
    "shape.h5": lambda a: a.update(layer_0=a["layer_0"].transpose(0, 2, 1)),
    "nan.h5": put("layer_1", (5, 3, 3), np.nan),
    "negative.h5": put("layer_1", (5, 3, 3), -1.0),
    "energy.h5": put("energy", (5, 0), np.nan),
    "empty.h5": lambda a: a.update({name: values[:0] for name, values in a.items()}),
    "mev.h5": lambda a: a.update(energy=a["energy"] * 1e3),
    "gev.h5": lambda a: a.update({f"layer_{i}": a[f"layer_{i}"] / 1e3 for i in range(3)}),
}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch, capsys) -> Callable[..., None]:
    """Run a command in an empty directory: it must be refused with these words and change nothing there."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object, says: tuple[str, ...] = (), code: int = 2) -> None:
        before = listing(tmp_path)
        capsys.readouterr()
        assert run(*arguments) == code
        shown = capsys.readouterr()
        for word in ("error: ", *says):
            assert word in shown.err
        assert "Traceback" not in shown.err + shown.out
        assert "internal error" not in shown.err
        assert listing(tmp_path) == before

    return check


def listing(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}
