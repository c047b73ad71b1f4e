"""Finished blocks of a simulation, kept beside the output until it is complete."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calofast.detector import detector
from calofast.showers import Showers
from calofast.truth import Truth, blocks
from hepflows.errors import OutputError
from hepflows.files import atomic_file, os_errors_as_output_errors, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from calofast.truth import Request

_REQUEST = "request.json"


@dataclass(frozen=True)
class Blocks:
    """A directory with one file a finished block.

    Attributes:
        folder: the directory, hidden beside the output.
        request: what is being simulated.
    """

    folder: Path
    request: Request

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Blocks that are not finished."""
        return [bounds for bounds in blocks(self.request) if not self._path(bounds).exists()]

    @property
    def n_done(self) -> int:
        """Events in finished blocks."""
        return len(self.request) - sum(stop - start for start, stop in self.missing)

    def keep(self, bounds: tuple[int, int], truth: Truth) -> None:
        """Store a finished block; it appears when it is complete."""
        showers = truth.showers
        with atomic_file(self._path(bounds), force=True) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                energy_gev=showers.incident_energy_gev,
                voxels_mev=showers.voxels_mev,
                overflow_mev=showers.overflow_mev if showers.overflow_mev is not None else np.zeros((len(showers), 0)),
                seconds=truth.seconds,
                provenance=np.array(json.dumps(dict(showers.provenance))),
            )

    def load(self, bounds: tuple[int, int]) -> Truth:
        """Read a finished block.

        Raises:
            OutputError: the file is damaged.
        """
        path, built = self._path(bounds), detector(self.request.detector)
        try:
            # read first: numpy leaves a damaged file open
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                showers = Showers(
                    geometry=built.geometry,
                    incident_energy_gev=stored["energy_gev"],
                    voxels_mev=stored["voxels_mev"],
                    overflow_mev=stored["overflow_mev"],
                    pdg=self.request.pdg,
                    provenance=json.loads(str(stored["provenance"])),
                )
                return Truth(showers=showers, seconds=stored["seconds"])
        except Exception as error:  # zip, numpy and json have many ways of saying that a file is damaged
            raise OutputError(
                "a finished block is damaged", where=path, found=str(error), remedy="delete it and --resume"
            ) from error

    def seconds(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Processor time of every event, shape (N,)."""
        return np.concatenate([self.load(bounds).seconds for bounds in blocks(self.request)])

    def remove(self) -> None:
        """Delete the directory and what is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Delete the directory if no block is finished."""
        if self.folder.is_dir() and self.n_done == 0:
            self.remove()

    def _path(self, bounds: tuple[int, int]) -> Path:
        return self.folder / f"{bounds[0]:010d}-{bounds[1]:010d}.npz"


def open_blocks(out: Path, request: Request, *, resume: bool, force: bool) -> Blocks:
    """Open the directory of blocks of an output file.

    Args:
        out: the output.
        request: what is to be simulated.
        resume: continue with finished blocks, if there are any.
        force: throw them away.

    Raises:
        OutputError: blocks are there and neither is wanted, or they belong to another request.
    """
    found = Blocks(out.with_name(f".{out.name}.blocks"), request)
    stated = found.folder / _REQUEST
    if found.folder.exists() and not resume:
        if not force:
            raise OutputError(
                "an interrupted simulation is there",
                where=found.folder,
                remedy="--resume continues it, --force starts anew",
            )
        found.remove()
    with os_errors_as_output_errors(out):
        found.folder.mkdir(parents=True, exist_ok=True)
        if stated.exists():
            _require_same(request, stated)
        else:
            with atomic_file(stated) as temporary:
                temporary.write_text(json.dumps(_document(request), indent=1), encoding="utf-8")
        remove_leftovers(found.folder)
    return found


def _document(request: Request) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(request)))
    return plain


def _require_same(request: Request, path: Path) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        before = {}
    now = _document(request)
    if different := [key for key in now if before.get(key) != now[key]]:
        raise OutputError(
            "the interrupted simulation was another one",
            where=path,
            expected=", ".join(f"{key} {now[key]}" for key in different),
            found=", ".join(f"{key} {before.get(key)}" for key in different),
            remedy="ask for the same, or start anew with --force",
        )
