from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hepflows.errors import DataError, HepflowsError, Interrupted, OutputError
from hepflows.files import atomic_directory, atomic_file, check_output, require_file, sha256_of


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_and_fail(path: Path, error: BaseException, *, force: bool = False) -> None:
    with atomic_file(path, force=force) as temporary:
        temporary.write_text("half")
        raise error


def test_messages_have_all_parts_in_order() -> None:
    error = DataError("wrong", where=Path("a.h5"), expected="(N, 1)", found=(3,), remedy="reshape it")
    assert str(error) == "a.h5: wrong\n  expected: (N, 1)\n  found: (3,)\n  what to do: reshape it"
    assert str(HepflowsError("wrong")) == "wrong"
    assert (HepflowsError("x").exit_code, Interrupted("x").exit_code) == (2, 130)


class TestAtomicFile:
    def test_appears_when_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "x.txt"
        with atomic_file(path) as temporary:
            temporary.write_text("all")
            assert not path.exists()
        assert path.read_text() == "all"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
    def test_a_failure_leaves_nothing(self, tmp_path: Path, error: BaseException) -> None:
        with pytest.raises(type(error)):
            write_and_fail(tmp_path / "x.txt", error)
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_keeps_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.txt"
        path.write_text("old")
        with pytest.raises(OutputError, match="No space left"):
            write_and_fail(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), force=True)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_existing_output_needs_force(self, tmp_path: Path) -> None:
        path = tmp_path / "x.txt"
        path.write_text("old")
        with pytest.raises(OutputError, match="--force"):
            write_and_fail(path, ValueError())
        with atomic_file(path, force=True) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"

    def test_disk_full_while_flushing(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(OutputError) as caught, atomic_file(tmp_path / "x.txt") as temporary:
            temporary.write_text("all")
        assert "nothing was left behind" in str(caught.value)
        assert "No space left on device" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way_of_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("")
        with pytest.raises(OutputError, match="is not a writable directory"):
            check_output(tmp_path / "x" / "y.txt", force=False)


class TestAtomicDirectory:
    def write(self, path: Path, name: str, *, force: bool = False) -> None:
        with atomic_directory(path, force=force) as temporary:
            (temporary / name).write_text(name)

    def test_replaces_as_a_whole(self, tmp_path: Path) -> None:
        self.write(tmp_path / "d", "one")
        with pytest.raises(OutputError, match="--force"):
            self.write(tmp_path / "d", "two")
        (tmp_path / "d" / "one").write_text("old")
        self.write(tmp_path / "d", "one", force=True)
        assert (tmp_path / "d" / "one").read_text() == "one"
        assert [path.name for path in tmp_path.iterdir()] == ["d"]

    def test_force_deletes_no_files_of_others(self, tmp_path: Path, monkeypatch) -> None:
        self.write(tmp_path / "d", "one")
        (tmp_path / "d" / "thesis.tex").write_text("precious")
        monkeypatch.chdir(tmp_path / "d")
        self.write(Path(), "one", force=True)
        assert sorted(path.name for path in Path().iterdir()) == ["one", "thesis.tex"]
        assert [path.name for path in tmp_path.iterdir()] == ["d"]

    def test_force_does_not_turn_a_file_into_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("precious")
        with pytest.raises(OutputError, match="output is a file"):
            self.write(tmp_path / "f", "one", force=True)
        (tmp_path / "d").mkdir()
        with pytest.raises(OutputError, match="output is a directory"):
            write_and_fail(tmp_path / "d", ValueError(), force=True)

    def test_a_failure_leaves_no_empty_parents(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="bug"):
            write_and_fail(tmp_path / "a" / "b" / "x.txt", ValueError("bug"))
        assert list(tmp_path.iterdir()) == []

    def test_disk_full_keeps_the_old_one(self, tmp_path: Path, monkeypatch) -> None:
        self.write(tmp_path / "d", "one")
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(OutputError, match="No space left"):
            self.write(tmp_path / "d", "two", force=True)
        assert [path.name for path in tmp_path.iterdir()] == ["d"]
        assert [path.name for path in (tmp_path / "d").iterdir()] == ["one"]

    def test_disk_full_when_it_begins(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(Path, "mkdir", no_space)
        with pytest.raises(OutputError, match="No space left"):
            self.write(tmp_path / "d", "one")
        assert list(tmp_path.iterdir()) == []


class TestRequireFile:
    def test_refusals(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="data file does not exist"):
            require_file(tmp_path / "none", "data file")
        with pytest.raises(DataError, match="is a directory"):
            require_file(tmp_path)

    def test_fifo_is_not_a_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="cannot be read"):
            require_file(tmp_path / "pipe")

    def test_sha256_of_the_standard_vector(self, tmp_path: Path) -> None:
        (tmp_path / "abc").write_bytes(b"abc")
        assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
