"""Times of sampling in a report: read from `hepflows benchmark --json`, or measured the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hepflows.benchmarking.artefact import SCHEMA
from hepflows.errors import ConfigError, DataError
from hepflows.files import require_file
from hepflows.plain_text import parse_json, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BATCHES: Final = (1, 10, 100, 1000)
"""Events a call that are timed if the report times a generator itself."""
_NUMBERS = ("ms", "ms_quartile_low", "ms_quartile_high", "events_per_second")


@dataclass(frozen=True, kw_only=True)
class BatchTime:
    """Time an event at one number of events a call: median and quartiles of the repeats."""

    batch: int
    ms: float
    ms_quartile_low: float
    ms_quartile_high: float
    events_per_second: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast one generator samples.

    Attributes:
        name: what it is called in the report.
        device: torch device, ``cpu`` or ``cuda`` for example.
        hardware: processor or GPU, with the number of threads.
        versions: of the libraries, as a text.
        quick: whether it was measured with few repeats.
        batches: times by number of events a call.
    """

    name: str
    device: str
    hardware: str
    versions: str
    quick: bool
    batches: tuple[BatchTime, ...]

    def to_json(self) -> dict[str, object]:
        """The public JSON form."""
        return {
            "device": self.device,
            "hardware": self.hardware,
            "versions": self.versions,
            "quick": self.quick,
            "sampling": {str(b.batch): {key: getattr(b, key) for key in _NUMBERS} for b in self.batches},
        }


def timing_of(source: Path, name: str, *, device: str, threads: int | None) -> Timing:
    """Times of a generator: of a JSON file of `hepflows benchmark`, else of an artefact or exported file, timed now.

    Args:
        source: file or directory.
        name: what it is called in the report.
        device: torch device, if it is timed now.
        threads: CPU threads that were asked for.

    Raises:
        HepflowsError: it cannot be read.
    """
    if source.suffix == ".json" and not source.is_dir():
        return read_timing(source, name)
    from hepflows import registry
    from hepflows.benchmarking.artefact import benchmark_generator, report_of

    generator = registry.load(source, device=device)
    measured = benchmark_generator(generator, BATCHES, quick=True)
    report = report_of(
        source, generator, measured, device=device, threads=threads, quick=True, load_s=0.0, startup=None
    )
    return parse_timing(report, name, where=str(source))


def read_timing(path: Path, name: str) -> Timing:
    """Read a JSON file of `hepflows benchmark ARTEFACT --json FILE`.

    Raises:
        DataError: the file does not exist, is not JSON, or not such a benchmark.
    """
    path = require_file(path, "benchmark")
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise DataError("the benchmark is not JSON", where=path, found=error) from error
    return parse_timing(document, name, where=str(path))


def parse_timing(document: object, name: str, *, where: str) -> Timing:
    """Times from the content of a benchmark's JSON form.

    Raises:
        DataError: it is not a benchmark of an artefact, or a number is missing.
    """
    content: Mapping[str, Any] = document if isinstance(document, dict) else {}
    found = f"schema {content.get('schema')}, benchmark {content.get('benchmark')}"
    if content.get("schema") != SCHEMA or content.get("benchmark") != "artefact":
        raise DataError(
            "not a benchmark of a generator",
            where=where,
            expected=f"schema {SCHEMA}, benchmark artefact",
            found=found,
            remedy="write one with `hepflows benchmark ARTEFACT --json FILE`",
        )
    try:
        machine, settings = content["machine"], content["settings"]
        threads = f"{machine['torch_threads']} of {machine['cores']} cores"
        return Timing(
            name=name,
            device=str(settings["device"]),
            hardware=str(machine["gpu"]) if "gpu" in machine else f"{machine['cpu']}, {threads}",
            versions=", ".join(f"{library} {v}" for library, v in machine["versions"].items() if v),
            quick=bool(settings["quick"]),
            batches=tuple(
                BatchTime(batch=int(batch), **{key: float(entry[key]) for key in _NUMBERS})
                for batch, entry in content["sampling"].items()
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "the benchmark is incomplete",
            where=where,
            expected="settings, machine and sampling of the schema " + SCHEMA,
            found=f"{type(error).__name__}: {error}",
            remedy="write it again with `hepflows benchmark ARTEFACT --json FILE`",
        ) from error


def name_sources(arguments: Sequence[str]) -> dict[str, Path]:
    """Names and paths from ``PATH`` (named after the file) and ``NAME=PATH`` arguments.

    Raises:
        ConfigError: an empty name or path, or one name twice.
    """
    sources: dict[str, Path] = {}
    for argument in arguments:
        name, separator, path = argument.partition("=")
        if not separator or Path(argument).exists():  # a path may contain "="
            name, path = Path(argument).stem, argument
        if not name or not path or name in sources:
            raise ConfigError(
                "not a generator to time",
                where="--timing",
                expected="PATH or NAME=PATH, each name once",
                found=argument,
            )
        sources[name] = Path(path)
    return sources
