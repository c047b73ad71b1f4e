"""Writing several files that belong together: all of them or none."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from hepflows.files import check_output, os_errors_as_output_errors, parents_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def atomic_files(paths: Sequence[Path], *, force: bool = False) -> Iterator[list[Path]]:
    """Yield temporary paths that become `paths`, in this order, when the block ends without an exception.

    Whatever fails, also while files are put in place, what lay there before lies there again.

    Args:
        paths: files to write; they need not lie in one directory.
        force: replace existing files.

    Raises:
        OutputError: a target exists and `force` is false, or the operating system refuses to write.
    """
    targets = [check_output(path, force=force) for path in paths]
    mark = secrets.token_hex(4)
    temporaries = [target.with_name(f".{target.name}.{mark}.tmp") for target in targets]
    with contextlib.ExitStack() as stack:
        stack.enter_context(os_errors_as_output_errors(targets[0]))
        for target in targets:
            stack.enter_context(parents_of(target))
        try:
            yield temporaries
            for temporary in temporaries:
                sync(temporary)
            _place(temporaries, targets, mark)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)


def _place(temporaries: Sequence[Path], targets: Sequence[Path], mark: str) -> None:
    """Rename files, keeping those that they replace until all are there."""
    with contextlib.ExitStack() as undo:
        kept = []
        for temporary, target in zip(temporaries, targets, strict=True):
            if target.exists():
                old = target.with_name(f".{target.name}.{mark}.old")
                _set_aside(target, old)
                undo.callback(_put_back, old, target)
                kept.append(old)
            temporary.replace(target)
            undo.callback(target.unlink, missing_ok=True)
        undo.pop_all()
    for old in kept:
        old.unlink(missing_ok=True)


def _put_back(old: Path, target: Path) -> None:
    """Undo `_set_aside`; two names of one file are left as they are by renaming."""
    old.replace(target)
    old.unlink(missing_ok=True)


def _set_aside(target: Path, old: Path) -> None:
    """Give a file a second name, so that its own is never without one; where links are refused, another name."""
    try:
        os.link(target, old)
    except OSError:
        target.replace(old)
