"""Options that several commands share: their types, and what their values mean."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from hepflows.errors import ConfigError, MissingDependencyError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

    from hepflows.train.progress import Reporter


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Converter of integers that, unlike that of cyclopts, does not round 1.5."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


Device: TypeAlias = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N")]
Threads: TypeAlias = Annotated[
    int | None, Parameter(converter=whole_number, help="CPU threads; by default torch chooses")
]
Seed: TypeAlias = Annotated[int, Parameter(converter=whole_number)]
Force: TypeAlias = Annotated[bool, Parameter(help="Overwrite existing output.", negative="")]
Resume: TypeAlias = Annotated[bool, Parameter(help="Continue a training that was stopped.", negative="")]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    Parameter(name="--set", help="Replace one value: table.key=value. May be repeated.", negative=""),
]
DataFile: TypeAlias = Annotated[Path, Parameter(help="HDF5, ROOT or Parquet file of events.")]
Reading: TypeAlias = Annotated[
    list[str] | None,
    Parameter(
        name="--read",
        help="How to read the file, as in the table [data] of a configuration: units.voxels=GeV. May be repeated.",
        negative="",
    ),
]

_GEV = {"MEV": 1e-3, "GEV": 1.0, "TEV": 1e3}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SIGNED = rf"[+-]?{_NUMBER}"
_CONDITION = re.compile(rf"([A-Za-z_]\w*)\s*=\s*({_SIGNED})(?:\s*\.\.\s*({_SIGNED}))?")
_ENERGY = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)(?:\s*\.\.\s*({_NUMBER})\s*([A-Za-z]*))?")


@dataclass(frozen=True)
class EnergyRange:
    """Incident energies in GeV, drawn uniformly; both bounds are equal for a fixed energy."""

    low_gev: float
    high_gev: float


def parse_energy(text: str) -> EnergyRange:
    """Read ``50GeV``, ``1..100GeV`` or ``500MeV..0.1TeV``.

    Raises:
        ConfigError: it is not of this form, has no unit or an unknown one, or is not a positive range.
    """

    def wrong(what: str, remedy: str | None = None) -> ConfigError:
        return ConfigError(
            what, where="--energy", expected="50GeV, 1..100GeV or 500MeV..0.1TeV", found=text, remedy=remedy
        )

    match = _ENERGY.fullmatch(text.strip())
    if match is None:
        raise wrong("not an energy")
    low, low_unit, high, high_unit = match.groups()
    unit = high_unit if high is not None else low_unit
    if not unit:
        raise wrong("the energy has no unit", f"{text.strip()}GeV, if it is in GeV")
    unknown = [name for name in (low_unit, unit) if name and name.upper() not in _GEV]
    if unknown:
        raise wrong(f"{unknown[0]!r} is not a unit of energy", "use MeV, GeV or TeV")
    low_gev = float(low) * _GEV[(low_unit or unit).upper()]
    high_gev = low_gev if high is None else float(high) * _GEV[unit.upper()]
    if not 0 < low_gev <= high_gev < math.inf:
        raise wrong("not a positive, rising range")
    return EnergyRange(low_gev, high_gev)


def parse_ranges(energy: str | None, conditions: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """Ranges of conditions by name, from ``--energy`` and any number of ``--condition NAME=LOW..HIGH``.

    Raises:
        ConfigError: one is ill-formed, or given twice.
    """
    ranges: dict[str, tuple[float, float]] = {}
    if energy is not None:
        found = parse_energy(energy)
        ranges["incident_energy_gev"] = (found.low_gev, found.high_gev)
    for text in conditions or ():
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                "not a condition", where="--condition", expected="NAME=VALUE or NAME=LOW..HIGH", found=text
            )
        name, low, high = match.groups()
        bounds = (float(low), float(low if high is None else high))
        if name in ranges or not -math.inf < bounds[0] <= bounds[1] < math.inf:
            raise ConfigError(
                "not a rising range" if name not in ranges else "this condition is given twice",
                where="--condition",
                found=text,
            )
        ranges[name] = bounds
    return ranges


def parse_reading(values: Sequence[str] | None, *, option: str = "--read") -> dict[str, Any]:
    """Read the values of ``--read`` into the keyword arguments of a task's `read`.

    Raises:
        ConfigError: a value is not of the form key=value.
    """
    from hepflows.config import with_overrides

    return with_overrides({}, values or (), option=option)


def parse_part(text: str, *, option: str = "--part") -> tuple[float, float]:
    """Read ``0.8:1.0``, a part of a file by position.

    Raises:
        ConfigError: it is not of this form.
    """
    first, _, last = text.partition(":")
    try:
        part = (float(first), float(last))
    except ValueError:
        part = (0.0, 0.0)
    if not 0.0 <= part[0] < part[1] <= 1.0:
        raise ConfigError("not a part of a file", where=option, expected="0.8:1.0 for the last fifth", found=text)
    return part


def parse_selection(part: str, read: Sequence[str] | None, *, option: str = "--part") -> dict[str, Any]:
    """Read ``--part`` and ``--read`` into the keyword arguments of a task's `read`.

    Raises:
        ConfigError: one is ill-formed, or ``--read`` names a part, too.
    """
    selection = parse_reading(read)
    if "part" in selection:
        raise ConfigError(
            "the part of a file has an option of its own", where="--read part", remedy=f"{option} 0.8:1.0"
        )
    return {"part": parse_part(part, option=option)} | selection


def name_list(text: str | None, option: str) -> list[str] | None:
    """Read ``a,b,c``; None stays None.

    Raises:
        ConfigError: a name is empty or occurs twice.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) != len(names):
        raise ConfigError("not a list of different names", where=option, expected="NAME,NAME", found=text)
    return names


def resolve_device(name: str) -> str:
    """Check that a device exists; ``auto`` is the GPU if there is one.

    Raises:
        ConfigError: no device is called that.
        MissingDependencyError: there is no such device on this machine.
    """
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name) is None:
        raise ConfigError("not a device", where="--device", expected="auto, cpu, cuda or cuda:N", found=name)
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(name.partition(":")[2] or 0) >= count:
        raise MissingDependencyError(
            "this GPU cannot be used",
            where=f"--device {name}",
            found=f"{count} CUDA device(s), torch {torch.__version__}",
            remedy="use --device cpu, or install a torch build and a driver with CUDA",
        )
    return name


def apply_threads(threads: int | None) -> None:
    """Limit torch, BLAS and numba to a number of CPU threads.

    Raises:
        ConfigError: the number is below 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise ConfigError("not a number of threads", where="--threads", expected="1 or more", found=threads)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when numba is first imported
    import torch

    torch.set_num_threads(threads)


def check_run_directory(out: Path, *, resume: bool, force: bool) -> None:
    """Refuse to mix a new training with an old one, before any work is done.

    Raises:
        OutputError: `out` is a file, holds something already, or holds nothing to resume.
    """
    from hepflows.files import check_output

    if out.exists() and not out.is_dir():
        raise OutputError("output is a file", where=out, expected="a directory", remedy="name another --out")
    filled = out.is_dir() and any(out.iterdir())
    if resume and not filled:
        raise OutputError("nothing to resume", where=out, remedy="leave --resume out to start a training")
    if resume and force:
        raise ConfigError("--resume and --force contradict each other", remedy="choose one: continue or start anew")
    if filled and not resume and not force:
        raise OutputError(
            "output exists already",
            where=out,
            remedy="--resume continues it, --force starts anew, or name another --out",
        )
    check_output(out, force=out.is_dir(), directory=True)


def training_reporter() -> Reporter:
    """`terminal_reporter` of the first of the processes that train together; the others are silent."""
    from hepflows.train.distributed import current
    from hepflows.train.progress import SilentReporter

    return terminal_reporter() if current().is_first else SilentReporter()


def terminal_reporter() -> Reporter:
    """Progress on standard error: bars on a terminal, else plain lines."""
    from rich.console import Console

    from hepflows.train.progress import reporter_for

    return reporter_for(Console(stderr=True))
