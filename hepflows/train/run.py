"""Where and how a training runs, apart from what is trained."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

from hepflows.document import DOCUMENT_NAME
from hepflows.errors import OutputError
from hepflows.files import remove_leftovers, sha256_of
from hepflows.train import distributed
from hepflows.train.checkpoint import KEPT
from hepflows.train.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a training runs.

    Attributes:
        directory: for checkpoints and logs; several models that are trained together have a sub-directory each.
            None keeps nothing.
        resume: continue from the checkpoints there.
        device: torch device.
        reporter: where progress goes.
        provenance: what is written into the artefact about the data.
    """

    directory: Path | None = None
    resume: bool = False
    device: str = "cpu"
    reporter: Reporter = field(default_factory=SilentReporter)
    provenance: Mapping[str, Any] | None = None

    @classmethod
    def on_file(
        cls, data: Path, *, directory: Path, resume: bool, device: str, reporter: Reporter | None = None
    ) -> Self:
        """Run whose artefacts name a data file and its SHA-256."""
        return cls(
            directory=directory,
            resume=resume,
            device=device,
            reporter=reporter or SilentReporter(),
            provenance={"data_file": data.name, "data_sha256": sha256_of(data)},
        )

    def folder(self, name: str) -> Path | None:
        """Sub-directory of one model."""
        return None if self.directory is None else self.directory / name


def training_folder(out: Path, *, resume: bool) -> Path:
    """The folder of `out` for checkpoints: as a stopped training left it if `resume`, else without old content.

    Raises:
        OutputError: something else than checkpoints lies there, which stays.
    """
    folder = out / "training"

    def prepare() -> None:
        if resume:
            remove_leftovers(out)
        elif folder.is_dir():
            files = [path for path in folder.rglob("*") if not path.is_dir()]
            if foreign := [path for path in files if path.name not in KEPT and not path.name.startswith(".")]:
                raise OutputError(
                    "checkpoints would be kept here, but something else lies here",
                    where=folder,
                    found=foreign[0].relative_to(folder),
                    remedy="name another --out, or move it away",
                )
            _remove(folder)

    distributed.current().on_first(prepare)
    return folder


def checkpoints_beside(out: Path, trainings: Sequence[str], *, resume: bool, force: bool) -> Path:
    """The folder ``OUT-training`` for the checkpoints of an artefact `out`: as it was left if `resume`, else gone.

    Args:
        out: where the artefact will be.
        trainings: names of the directories that its trainings make there, ``round_*`` for all that begin so.
        resume: go on where a training was stopped.
        force: give up what a stopped training has left.

    Raises:
        OutputError: there is nothing to resume; a stopped training would be lost, and `force` is false; or what lies
            there is of no such training, and stays.
    """
    name = out.resolve().name
    if not name:
        raise OutputError("no artefact can be here", where=out, remedy="name a directory inside")
    folder = out.resolve().with_name(f"{name}-training")

    def prepare() -> None:
        if resume and not folder.is_dir():
            raise OutputError(
                "nothing to resume", where=folder, remedy="leave --resume out to start anew, or check --out"
            )
        if not os.path.lexists(folder):
            return
        if not _only_checkpoints(folder, trainings):
            raise OutputError(
                "checkpoints would be kept here, but something else lies here",
                where=folder,
                remedy="name another --out, or move it away",
            )
        if not resume and not force:
            raise OutputError(
                "a stopped training has left checkpoints",
                where=folder,
                remedy="--resume continues it, --force starts anew, or name another --out",
            )
        if not resume:
            _remove(folder)

    distributed.current().on_first(prepare)
    return folder


def remove_checkpoints(folder: Path, trainings: Sequence[str]) -> None:
    """Remove the folder of `checkpoints_beside` after the last step, unless something else has come to lie there."""

    def remove() -> None:
        if folder.is_dir() and _only_checkpoints(folder, trainings):
            _remove(folder)

    distributed.current().on_first(remove)


def _remove(folder: Path) -> None:
    """What is in a folder, and the folder itself unless it is a link to another disk."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not folder.is_symlink():
        folder.rmdir()


def _only_checkpoints(folder: Path, trainings: Sequence[str]) -> bool:
    """Whether a folder holds nothing but what these trainings write, and hidden files of file systems."""
    if not folder.is_dir():
        return False
    for path in folder.rglob("*"):
        if path.is_symlink():
            return False
        inside = path.relative_to(folder).parts
        if path.is_dir():
            known = len(inside) == 1 and any(fnmatchcase(path.name, name) for name in trainings)
        else:
            known = path.name.startswith(".") or (len(inside) == 2 and path.name in KEPT)
        if not known:
            return False
    return True


def remove_old(artefact: Path) -> None:
    """Remove the artefact of an earlier training, which would be taken for one of this; done by the first process."""

    def remove() -> None:
        if (artefact / DOCUMENT_NAME).is_file():
            shutil.rmtree(artefact)

    distributed.current().on_first(remove)
