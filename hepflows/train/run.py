"""Where and how a training runs, apart from what is trained."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from hepflows.files import remove_leftovers, sha256_of
from hepflows.train import distributed
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


def remove_old(folder: Path) -> None:
    """Remove what an earlier training left, which a new one must not find; done by the first process."""
    distributed.current().on_first(lambda: shutil.rmtree(folder, ignore_errors=True))
