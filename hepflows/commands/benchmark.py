"""`hepflows benchmark`: speed and memory of a generator on this machine."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hepflows.commands.options import Device, Force, Threads  # noqa: TC001 - cyclopts reads the annotations
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_EVENTS = 1_000_000


def benchmark(
    artefact: Path,
    /,
    *,
    batch: Annotated[str, Parameter(help="Numbers of events a call, separated by commas.")] = "1,16,100,1000",
    threads: Threads = None,
    json: Annotated[Path | None, Parameter(help="File for all figures.")] = None,
    quick: Annotated[bool, Parameter(help="Fewer and shorter repeats, no cold start.", negative="")] = False,
    startup: Annotated[bool, Parameter(help="Also time the first event in a fresh process.")] = True,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Measure how fast a generator samples, and what memory it takes.

    Prints time an event, events a second and peak memory by batch, the speed of the density if the generator has
    one, and the time to the first event of a fresh process. Nothing of the result depends on the events' content.

    Parameters
    ----------
    artefact
        Artefact directory, or exported file such as student.onnx.
    """
    import time

    from hepflows import registry
    from hepflows.benchmarking.artefact import benchmark_generator, report_of, startup_of
    from hepflows.benchmarking.tables import write_json
    from hepflows.commands.options import apply_threads, resolve_device, terminal_reporter
    from hepflows.files import check_output

    batches = parse_batches(batch)
    if json is not None:
        check_output(json, force=force)
    chosen = resolve_device(device)
    apply_threads(threads)
    began = time.perf_counter()
    generator = registry.load(artefact, device=chosen)
    load_s = time.perf_counter() - began
    reporter = terminal_reporter()
    with reporter.stage("measuring", total=len(batches), unit="batch sizes") as stage:
        measured = benchmark_generator(generator, batches, quick=quick, batch_done=lambda _: stage.advance())
    started = None
    if startup:
        reporter.message("starting fresh processes" + ("" if quick else ", one of which compiles everything"))
        started = startup_of(artefact, device=chosen, threads=threads, cold=not quick)
    report = report_of(
        artefact, generator, measured, device=chosen, threads=threads, quick=quick, load_s=load_s, startup=started
    )
    _show(report)
    if json is not None:
        write_json(json, report, force=force)
        reporter.message(f"figures: {json}")


def parse_batches(text: str) -> tuple[int, ...]:
    """Read ``1,16,100`` into numbers of events, each once and in rising order.

    Raises:
        ConfigError: it is not of this form.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) <= _MOST_EVENTS for part in parts):
        raise ConfigError(
            "not a list of numbers of events",
            where="--batch",
            expected=f"1,16,100,1000 for example, each from 1 to {_MOST_EVENTS}",
            found=text,
        )
    return tuple(sorted({int(part) for part in parts}))


def _show(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from hepflows.benchmarking.tables import number, table

    console, machine = Console(), report["machine"]
    columns = ("events a call", "ms/event", "CPU ms/event", "events/s", "peak MiB")
    console.print(table(f"sampling: {report['task']} {report['kind'] or ''}", columns, _rows(report["sampling"])))
    if report["log_prob"]:
        console.print(table("log density", columns[:-1], [row[:-1] for row in _rows(report["log_prob"])]))
    for name, seconds in (report["startup"] or {}).items():
        parts = ", ".join(f"{part.removesuffix('_s').replace('_', ' ')} {number(s)} s" for part, s in seconds.items())
        console.print(Text(f"{name} start: {parts}"), soft_wrap=True)
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    device = machine.get("gpu", f"{machine['cpu']}, {machine['torch_threads']} of {machine['cores']} cores")
    console.print(Text(f"{device}; Python {machine['python']}, {versions}"), soft_wrap=True)


def _rows(entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[object, ...]]:
    from hepflows.benchmarking.tables import number

    return [
        (
            batch,
            f"{number(entry['ms'])} ± {number((entry['ms_quartile_high'] - entry['ms_quartile_low']) / 2)}",
            float(entry["cpu_ms"]),
            float(entry["events_per_second"]),
            entry.get("peak_mib"),
        )
        for batch, entry in entries.items()
    ]
