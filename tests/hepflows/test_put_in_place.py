"""What replaces an older result: the old one stays complete until the new one is there, whenever that is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hepflows import files
from hepflows.errors import OutputError
from hepflows.file_sets import atomic_files
from hepflows.files import atomic_directory

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> None:
    with atomic_directory(path, force=True) as temporary:
        (temporary / "a").write_text(text)
        (temporary / "b").write_text(text)


def test_an_older_directory_is_set_aside_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, removed = tmp_path / "x", []
    write(target, "old")
    monkeypatch.setattr(files.shutil, "rmtree", lambda path, **_: removed.append((path, (target / "a").read_text())))
    write(target, "new")
    # whatever is removed, the new directory is in place by then
    assert [text for path, text in removed if path.suffix == ".old"] == ["new"]
    assert {entry.read_text() for entry in target.iterdir()} == {"new"}


def test_a_directory_that_cannot_be_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    write(target, "old")
    real = type(target).replace

    def refusing(path: Path, new: Path) -> Path:
        if path.suffix == ".tmp":
            raise OSError("refused")
        return real(path, new)

    monkeypatch.setattr(type(target), "replace", refusing)
    with pytest.raises(OutputError, match="refused"):
        write(target, "new")
    assert {entry.read_text() for entry in target.iterdir()} == {"old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_file_is_never_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old")
    real, seen = type(paths[0]).replace, []

    def watched(path: Path, new: Path) -> Path:
        seen.append([target.exists() for target in paths])
        return real(path, new)

    monkeypatch.setattr(type(paths[0]), "replace", watched)
    with atomic_files(paths, force=True) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
    assert seen == [[True, True]] * 2
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"a": "new", "b": "new"}
