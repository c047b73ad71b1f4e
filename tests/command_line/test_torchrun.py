"""`torchrun -m hepflows train` and `distill`: the same generators as from one process, stopped and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from calofast.reading import embedded_showers_path
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path

EPLUS = embedded_showers_path()
CONFIG = """
task = "calofast"
[data]
first = 100
[layer_energies]
blocks = 2
hidden = [8]
training = { epochs = 2, batch_size = 40 }
[teacher]
blocks = 1
hidden = [8, 8]
dropout = 0.1
training = { epochs = 3, batch_size = 40 }
[student]
hidden = [8]
training = { epochs = 2, batch_size = 40 }
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, and what one process trains with it."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "config.toml").write_text(CONFIG)
    arguments = ("train", folder / "config.toml", "--data", EPLUS, "--out", folder / "run", "--device", "cpu")
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def start(*arguments: object, processes: int = 0) -> subprocess.Popen[str]:
    program = [sys.executable, "-m"]
    if processes:
        program += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*program, "hepflows", *map(str, arguments)],
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def losses(log: Path) -> list[list[float]]:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return [[entry["train_loss"], entry["validation_loss"]] for entry in entries]


def same_training(folder: Path, expected: Path) -> None:
    for name in ("layer_energies", "teacher", "student"):
        found, wanted = (losses(run / "training" / name / "log.jsonl") for run in (folder, expected))
        for a, b in zip(found, wanted, strict=True):
            assert a == pytest.approx(b, rel=1e-5)
    for name in ("teacher", "student"):
        found_state, state = (load_file(run / name / "weights.safetensors") for run in (folder, expected))
        assert_close(found_state, state, rtol=1e-4, atol=1e-4)


def test_two_processes_train_the_generators_of_one(one: Path, tmp_path: Path) -> None:
    """Stopped by SIGTERM, as a batch system does it, and continued by one process."""
    out = tmp_path / "run"
    command = ("train", one / "config.toml", "--data", EPLUS, "--out", out, "--device", "cpu")
    with start(*command, processes=2) as process:
        while process.poll() is None and not (out / "training" / "teacher" / "log.jsonl").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=200)
    if process.returncode:  # it may have been faster
        assert said.count("was stopped") == 1
        assert said.count("--resume continues from") == 1
    assert main([*map(str, command), "--resume"]) == 0
    same_training(out, one / "run")


def test_bad_input_is_told_once(one: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(EPLUS.read_bytes()[:50_000])
    command = ("train", one / "config.toml", "--data", tmp_path / "cut.h5", "--out", tmp_path / "run")
    with start(*command, "--device", "cpu", processes=2) as process:
        _, said = process.communicate(timeout=200)
    assert process.returncode == 1  # torchrun's own; it lists those of the processes
    assert said.count("error: ") == 1
    assert "cut.h5" in said
    assert "exitcode  : 2" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", pytest.param("distill", marks=pytest.mark.slow)])
def test_sigterm_saves_and_leaves_with_130(one: Path, tmp_path: Path, command: str) -> None:
    """A real process; without end but for the signal."""
    out = tmp_path / "run"
    if command == "train":
        name, folder = "layer_energies", out / "training"
        arguments = ["train", one / "config.toml", "--set", "layer_energies.training.epochs=100000"]
    else:
        name, folder = "student", tmp_path / "run-training"
        arguments = ["distill", one / "run" / "teacher", "--set", "student.training.epochs=100000"]
    with start(*arguments, "--data", EPLUS, "--out", out, "--device", "cpu") as process:
        while process.poll() is None and not (folder / name / "log.jsonl").exists():
            time.sleep(0.02)
        before = (folder / name / "checkpoint.safetensors").stat().st_mtime_ns
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "--resume continues from" in said
    assert (folder / name / "checkpoint.safetensors").stat().st_mtime_ns > before
    assert not list(tmp_path.rglob("*.tmp"))
