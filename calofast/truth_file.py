"""A whole simulation, from a request to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calofast.geant4 import open_geant4
from calofast.truth import blocks
from calofast.truth_blocks import open_blocks
from calofast.truth_workers import run_blocks
from calofast.writing import write_showers
from hepflows.errors import ConfigError, Interrupted, OutputError
from hepflows.files import check_output
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from calofast.truth import Request
    from calofast.truth_blocks import Blocks
    from calofast.truth_engine import OpenEngine
    from hepflows.train.progress import Reporter

_SUFFIXES = (".h5", ".hdf5")


def simulate(
    request: Request,
    out: str | os.PathLike[str],
    *,
    processes: int = 1,
    resume: bool = False,
    force: bool = False,
    open_engine: OpenEngine = open_geant4,
    reporter: Reporter | None = None,
) -> Path:
    """Simulate showers into an HDF5 file.

    Args:
        request: what to simulate.
        out: CaloGAN layout for regular layers, CaloChallenge layout (and a binning file beside it) for
            cylindrical ones; ``g4_seconds`` (N, 1) is the processor time of each shower.
        processes: worker processes.
        resume: continue an interrupted simulation, if there is one.
        force: replace existing files, and start an interrupted simulation anew.
        open_engine: the simulation behind it.
        reporter: shows progress.

    Returns:
        `out`.

    Raises:
        OutputError: `out` cannot be written, exists, or an interrupted simulation is in the way.
        MissingDependencyError: Geant4 or its data sets are missing.
        ConfigError: an impossible setting.
        Interrupted: the user stopped it; finished blocks are kept.
    """
    if processes < 1:
        raise ConfigError("not a number of processes", where="--processes", expected="1 or more", found=processes)
    if resume and force:
        raise ConfigError("--resume and --force contradict each other", remedy="choose one: continue or start anew")
    out = check_output(out, force=force)
    if out.suffix.lower() not in _SUFFIXES:
        raise OutputError("not the name of an HDF5 file", where=out, expected=" or ".join(_SUFFIXES))
    reporter = SilentReporter() if reporter is None else reporter
    kept = open_blocks(out, request, resume=resume, force=force)
    try:
        with reporter.stage("simulating", total=len(request), unit="showers", done=kept.n_done) as stage:
            for count in run_blocks(kept, open_engine, processes=processes):
                stage.advance(count)
    except KeyboardInterrupt:
        done = kept.n_done
        kept.remove_if_empty()
        raise Interrupted(
            "the simulation was stopped",
            found=f"{done} of {len(request)} showers are kept" if done else "no block of showers was finished",
            remedy="--resume continues it" if done else None,
        ) from None
    except BaseException:
        kept.remove_if_empty()
        raise
    write_blocks(kept, out, force=force)
    kept.remove()
    return out


def write_blocks(kept: Blocks, out: Path, *, force: bool) -> None:
    """Put finished blocks together in a file."""
    write_showers(
        (kept.load(bounds).showers for bounds in blocks(kept.request)),
        out,
        force=force,
        columns={"g4_seconds": (kept.seconds()[:, None], "s")},
    )
