"""The folder of checkpoints beside an artefact: what is kept, what is refused, what is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hepflows.errors import OutputError
from hepflows.train.run import checkpoints_beside, remove_checkpoints

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = ("round_*",)


def stopped(folder: Path) -> Path:
    """What a stopped training leaves."""
    (folder / "round_1").mkdir(parents=True)
    (folder / "round_1" / "checkpoint.safetensors").write_text("x")
    (folder / "round_1" / "log.jsonl").write_text("")
    (folder / "round_1" / ".log.jsonl.0a1b2c3d.tmp").write_text("")
    return folder


def test_nothing_lies_there_yet(tmp_path: Path) -> None:
    folder = checkpoints_beside(tmp_path / "out", ROUNDS, resume=False, force=False)
    assert folder == tmp_path.resolve() / "out-training"
    assert not folder.exists()
    remove_checkpoints(folder, ROUNDS)
    with pytest.raises(OutputError, match="nothing to resume"):
        checkpoints_beside(tmp_path / "out", ROUNDS, resume=True, force=False)
    with pytest.raises(OutputError, match="no artefact can be here"):
        checkpoints_beside(tmp_path.__class__("/"), ROUNDS, resume=False, force=True)


def test_a_stopped_training_is_resumed_or_given_up(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "out-training")
    with pytest.raises(OutputError, match=r"stopped training[\s\S]*--resume continues it, --force"):
        checkpoints_beside(tmp_path / "out", ROUNDS, resume=False, force=False)
    checkpoints_beside(tmp_path / "out", ROUNDS, resume=True, force=False)
    checkpoints_beside(tmp_path / "out", ROUNDS, resume=True, force=True)
    assert (folder / "round_1" / "checkpoint.safetensors").exists()
    checkpoints_beside(tmp_path / "out", ROUNDS, resume=False, force=True)
    assert not folder.exists()
    remove_checkpoints(stopped(folder), ROUNDS)
    assert not folder.exists()


@pytest.mark.parametrize(
    "foreign",
    ["thesis.txt", "training/teacher/checkpoint.safetensors", "teacher/checkpoint.safetensors", "round_1/notes.txt"],
)
@pytest.mark.parametrize("resume", [False, True])
def test_what_is_not_ours_stays(tmp_path: Path, foreign: str, resume: bool) -> None:
    """The folder of `hepflows train --out out-training`, for example."""
    path = stopped(tmp_path / "out-training") / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(OutputError, match="something else lies here"):
        checkpoints_beside(tmp_path / "out", ROUNDS, resume=resume, force=True)
    remove_checkpoints(tmp_path / "out-training", ROUNDS)
    assert path.read_text() == "years of work"


def test_a_link_in_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (stopped(tmp_path / "out-training") / "round_2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="something else"):
        checkpoints_beside(tmp_path / "out", ROUNDS, resume=False, force=True)


def test_the_folder_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    scratch = stopped(tmp_path / "scratch")
    (tmp_path / "out-training").symlink_to(scratch)
    checkpoints_beside(tmp_path / "out", ROUNDS, resume=True, force=False)
    remove_checkpoints(tmp_path / "out-training", ROUNDS)
    assert list(scratch.iterdir()) == []
    assert (tmp_path / "out-training").is_symlink()


def test_a_file_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / "out-training").write_text("x")
    with pytest.raises(OutputError, match="something else"):
        checkpoints_beside(tmp_path / "out", ROUNDS, resume=False, force=True)
