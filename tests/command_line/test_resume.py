"""A training that was stopped or killed continues to the same weights; another one is not continued."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from calofast.reading import embedded_showers_path
from hepflows.cli import main
from hepflows.files import sha256_of
from hepflows.train.loop import _Trainer

if TYPE_CHECKING:
    from pathlib import Path

EPLUS = embedded_showers_path()


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def weights(folder: Path) -> list[str]:
    return [sha256_of(folder / name / "weights.safetensors") for name in ("teacher", "student")]


def test_interrupted_training_resumes_bit_identically(made: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """SIGINT and SIGTERM in turn, in each model at least once."""
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", tmp_path / "run", "--device", "cpu")
    step, calls, stops = _Trainer._step, [], [signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM]

    def interrupted(self: _Trainer, rows: object) -> float:
        calls.append(self)
        if len(calls) % 5 == 0:
            signal.raise_signal(stops.pop())
        return step(self, rows)

    monkeypatch.setattr(_Trainer, "_step", interrupted)
    for attempt in range(4):
        assert run(*command, *(["--resume"] if attempt else [])) == 130
        assert "--resume continues" in capsys.readouterr().err
        assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    assert run(*command) == 2
    assert "--resume continues it" in capsys.readouterr().err
    assert run(*command, "--resume") == 0
    assert weights(tmp_path / "run") == weights(made / "run")
    # a finished run may be resumed, which changes nothing
    assert run(*command, "--resume") == 0
    assert weights(tmp_path / "run") == weights(made / "run")


def test_killed_training_resumes_bit_identically(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", out, "--device", "cpu")
    program = [sys.executable, "-m", "hepflows", *map(str, command)]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while process.poll() is None and not (out / "training" / "teacher" / "log.jsonl").exists():
            time.sleep(0.02)
        process.kill()
    leftover = out / "training" / "teacher" / ".checkpoint.safetensors.0123abcd.tmp"
    leftover.write_text("half")
    assert run(*command, "--resume") == 0
    assert weights(out) == weights(made / "run")
    assert not leftover.exists()


def test_resume_of_another_training(made: Path, tmp_path: Path, refused) -> None:
    shutil.copytree(made / "run" / "training", tmp_path / "run" / "training")
    command = ("train", made / "config.toml", "--data", EPLUS, "--out", "run", "--resume")
    for change in (
        "layer_energies.training.epochs=9",
        "seed=2",
        "data.part=[0.2,1.0]",
        "preprocessing.threshold_mev=0.02",
        "layer_energies.hidden=[9]",
    ):
        refused(*command, "--set", change, says=("checkpoint.safetensors", "belongs to another training", "what to do"))
    checkpoint = tmp_path / "run" / "training" / "teacher" / "checkpoint.safetensors"
    os.truncate(checkpoint, 1000)
    refused(*command, says=("teacher/checkpoint.safetensors: the checkpoint cannot be read", "what to do"))


def test_nothing_to_resume(made: Path, refused) -> None:
    train = ("train", made / "config.toml", "--data", EPLUS, "--out", "run")
    refused(*train, "--resume", says=("run: nothing to resume",))
    refused("distill", made / "run" / "teacher", "--data", EPLUS, "--out", "s", "--resume", says=("nothing to resume",))
    refused(
        "train", made / "config.toml", "--data", EPLUS, "--out", made / "run", "--resume", "--force", says=("choose",)
    )


def test_a_new_training_leaves_no_student_of_the_old_teacher(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    text = (made / "config.toml").read_text().partition("[student]")[0].replace("epochs = 3", "epochs = 1")
    (tmp_path / "teacher.toml").write_text(text)
    command = ("train", tmp_path / "teacher.toml", "--data", EPLUS, "--out", tmp_path / "run")
    assert run(*command, "--force") == 0
    assert (tmp_path / "run" / "teacher").is_dir()
    assert not (tmp_path / "run" / "student").exists()
