"""`hepflows demo`: the whole chain on the packaged data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hepflows.commands.options import Device, Force, Threads  # noqa: TC001 - cyclopts reads the annotations


def demo(
    *,
    out: Annotated[Path, Parameter(help="Directory of everything that is written.")] = Path("hepflows-demo"),
    calo: Annotated[bool, Parameter(help="Only calorimeter showers.", negative="")] = False,
    jets: Annotated[bool, Parameter(help="Only jets.", negative="")] = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> int:
    """Train, sample, export and validate on packaged Geant4 showers and Pythia jets; minutes on a laptop."""
    from hepflows.commands.options import apply_threads, resolve_device, terminal_reporter
    from hepflows.demo import run_demo

    chosen = resolve_device(device)
    apply_threads(threads)
    only = [name for name, wanted in (("calo", calo), ("jets", jets)) if wanted]
    return run_demo(out, only=only, force=force, device=chosen, threads=threads, reporter=terminal_reporter())
