"""An output that cannot be written is refused by every command, and leaves neither files nor directories."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import pytest

from calofast.reading import embedded_showers_path
from hepflows.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPLUS = embedded_showers_path()


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def commands_that_write(made: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    run_ = made / "run"
    return {
        "o.h5": ("generate", run_ / "student", "--energy", "50GeV", "-n", 300, "--seed", 1),
        "o.root": ("generate", run_ / "student", "--energy", "50GeV", "-n", 300, "--seed", 1),
        "x.onnx": ("export", run_ / "student"),
        "report": ("validate", EPLUS, made / "teacher.h5", "--part", "0.8:1", "--trainings", 0),
        "train": ("train", made / "config.toml", "--data", EPLUS),
        "distill": ("distill", run_ / "teacher", "--data", EPLUS),
    }


WRITERS = ["o.h5", "o.root", "x.onnx", "report", "train", "distill"]


@pytest.mark.parametrize("name", WRITERS)
def test_existing_output_needs_force(made: Path, tmp_path: Path, refused, name: str) -> None:
    command = commands_that_write(made, tmp_path)[name]
    (tmp_path / name).mkdir() if name in ("report", "train", "distill") else (tmp_path / name).touch()
    if name == "train":
        (tmp_path / name / "mine").touch()
    refused(*command, "--out", name, says=(f"{name}: output exists already", "--force"))


@pytest.mark.parametrize("name", WRITERS)
def test_output_of_the_wrong_kind_is_never_replaced(made: Path, tmp_path: Path, refused, name: str) -> None:
    command = commands_that_write(made, tmp_path)[name]
    (tmp_path / name).touch() if name in ("report", "train", "distill") else (tmp_path / name).mkdir()
    refused(*command, "--out", name, "--force", says=(f"{name}: output is a ",))


@pytest.mark.parametrize("name", WRITERS)
def test_output_below_a_file(made: Path, tmp_path: Path, refused, name: str) -> None:
    (tmp_path / "file").touch()
    command = commands_that_write(made, tmp_path)[name]
    refused(*command, "--out", f"file/{name}", says=("output cannot be written here", "is not a writable directory"))


def test_force_keeps_the_files_of_others(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.tex").write_text("precious")
    command = commands_that_write(made, tmp_path)["report"]
    assert run(*command, "--out", tmp_path / "results", "--force") == 0
    assert (tmp_path / "results" / "thesis.tex").read_text() == "precious"
    assert (tmp_path / "results" / "report.json").is_file()


@contextlib.contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
def test_disk_full(made: Path, tmp_path: Path, refused, monkeypatch, name: str) -> None:
    if name == "report":
        monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    command = commands_that_write(made, tmp_path)[name]
    with largest_file(4000):
        if name != "train":
            refused(
                *command, "--out", f"new/{name}", says=("writing failed, nothing was left behind", "File too large")
            )
            return
        refused(*command, "--out", "new/train", says=("checkpoint.safetensors: writing failed", "free space"))
