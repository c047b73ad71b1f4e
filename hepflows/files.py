"""Writing files so that a reader never meets half of one.

A file or directory is written under a temporary name beside its target and renamed when complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hepflows.errors import DataError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor


def require_file(path: str | os.PathLike[str], what: str = "input file") -> Path:
    """Return `path` if it is a readable regular file, else raise `DataError` saying what it is."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{what} is a directory", where=path, expected="a file", remedy="name a file inside it")
    if not path.exists():
        raise DataError(f"{what} does not exist", where=path, remedy="check the path")
    if not path.is_file() or not os.access(path, os.R_OK):
        raise DataError(f"{what} cannot be read", where=path, remedy="check type and permissions of the file")
    return path


def check_output(path: str | os.PathLike[str], *, force: bool, directory: bool = False) -> Path:
    """Return `path` if something may be written there, else raise `OutputError`.

    Call it before long work, so that hours of training are not lost to an existing file.

    Args:
        path: file or directory to write.
        force: allow replacing what is there, if it is of the same kind.
        directory: whether `path` is to be a directory.
    """
    path = Path(path)
    if path.exists() and not force:
        raise OutputError("output exists already", where=path, remedy="choose another path or pass --force")
    if path.exists() and path.is_dir() != directory:
        kinds = ("a file", "a directory")
        raise OutputError(
            f"output is {kinds[path.is_dir()]}",
            where=path,
            expected=f"a path for {kinds[directory]}",
            remedy="choose another path",
        )
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(
            "output cannot be written here",
            where=path,
            found=f"{parent} is not a writable directory",
            remedy="choose another place, or change the permissions of this one",
        )
    return path


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an exception.

    Raises:
        OutputError: the target exists and `force` is false, or the operating system refuses to write.
    """
    target = check_output(path, force=force)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with os_errors_as_output_errors(target), parents_of(target):
        try:
            yield temporary
            sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory that replaces `path` when the block ends without an exception.

    Entries of an existing directory that the new one does not have stay: they are not ours to delete.
    """
    target = check_output(path, force=force, directory=True).resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with os_errors_as_output_errors(Path(path)), parents_of(target):
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    sync(file)
            _put_in_place(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.is_dir():
        temporary.replace(target)
        return
    new = {entry.name for entry in temporary.iterdir()}
    if not all(entry.name in new for entry in target.iterdir()):
        for name in new:
            if (target / name).is_dir():
                shutil.rmtree(target / name)
            (temporary / name).replace(target / name)
        return
    # renamed first: a process that is killed while it removes would leave half of the old directory in place
    old = temporary.with_suffix(".old")
    target.replace(old)
    try:
        temporary.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def parents_of(target: Path) -> Iterator[None]:
    """Create the directories above `target`; if the block fails, remove those that are new and empty."""
    missing = [parent for parent in target.absolute().parents if not parent.exists()]
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for parent in missing:
                parent.rmdir()
        raise


@contextlib.contextmanager
def os_errors_as_output_errors(target: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside the block into an `OutputError` that names `target`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            "writing failed, nothing was left behind",
            where=target,
            found=error.strerror or str(error),
            remedy="free space or choose another place",
        ) from error


def remove_leftovers(directory: Path, *, name: str = "*") -> None:
    """Remove temporary files that a killed process left in a directory of ours, all or those of one target."""
    for path in directory.glob(f".{name}.{'[0-9a-f]' * 8}.tmp"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: the operating system refuses to write.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)  # the library lets nobody else read its files


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content as a hexadecimal string."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
