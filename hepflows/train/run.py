"""Where and how a training runs, apart from what is trained."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from hepflows.errors import OutputError
from hepflows.files import remove_leftovers, sha256_of
from hepflows.train import distributed
from hepflows.train.checkpoint import KEPT
from hepflows.train.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    """The folder of `out` for checkpoints: as a stopped training left it if `resume`, else without old content."""
    folder = out / "training"
    if resume:
        distributed.current().on_first(lambda: remove_leftovers(out))
    else:
        remove_old(folder)
    return folder


def checkpoints_beside(out: Path, *, resume: bool, force: bool) -> Path:
    """The folder ``OUT-training`` for the checkpoints of an artefact `out`: as it was left if `resume`, else gone.

    Raises:
        OutputError: there is nothing to resume; a stopped training would be lost, and `force` is false; or what lies
            there is no training's and stays.
    """
    folder = out.resolve().with_name(f"{out.resolve().name}-training")

    def prepare() -> None:
        if resume and not folder.is_dir():
            raise OutputError(
                "nothing to resume", where=folder, remedy="leave --resume out to start anew, or check --out"
            )
        if not os.path.lexists(folder):
            return
        if not _only_checkpoints(folder):
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
            shutil.rmtree(folder)

    distributed.current().on_first(prepare)
    return folder


def _only_checkpoints(folder: Path) -> bool:
    """Whether a folder holds nothing but what trainings write."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return all(path.name in KEPT or (path.name.startswith(".") and path.name.endswith(".tmp")) for path in files)


def remove_old(folder: Path) -> None:
    """Remove what an earlier training left, which a new one must not find; done by the first process."""
    distributed.current().on_first(lambda: shutil.rmtree(folder, ignore_errors=True))
