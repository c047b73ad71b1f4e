"""Exported files in ONNX Runtime, from Python and from C++, against torch and against our own sampler.

python -m benchmarks.export --json export.json --plot export.png
python -m benchmarks.export --quick

Student and exact teacher have the size of CaloFlow's (504 voxels, 8 blocks, two hidden layers of 378 units), jets 30
slots and the default networks; weights are random, or those of ``--student DIR --teacher DIR --jets DIR``. With
``--quick`` there are no jets, no int8 file and no fresh processes but those of ONNX Runtime, and times are rough.
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.export_cpp import build_program
from benchmarks.export_files import store_as, stored_bytes, write_file
from benchmarks.export_sides import (
    File,
    is_finite,
    load_seconds,
    noise_of,
    numba_side,
    time_hosts,
    time_streaming,
    torch_side,
)
from benchmarks.export_subjects import make_subjects
from benchmarks.options import Options, numbers, parse, run, say
from benchmarks.showing import describe, show_notes, show_ratios, show_sides
from benchmarks.sides import Side, measure
from hepflows.benchmarking.artefact import startup_of
from hepflows.benchmarking.machine import LIBRARIES, describe_machine
from hepflows.benchmarking.startup import run_fresh
from hepflows.benchmarking.tables import table
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from benchmarks.export_subjects import Subject
    from benchmarks.sides import Measured
    from exporters.storage import Storage

_MIB = 2**20
_STREAM = ("stream_ms", "run_ms", "run_over_stream", "run_over_stream_least")


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(
        __doc__ or "", argv, batches=(1, 10, 100, 1000), quick_batches=(1, 100), peers=False, add=_add_options
    )
    return run("export", options, work, show=show, draw=draw)


@torch.no_grad()
def work(options: Options) -> dict[str, Any]:
    """Measure everything."""
    not_run = {"geant4": _why_no_geant4()}
    try:
        program = build_program()
    except HepflowsError as error:
        not_run["onnxruntime_cpp"] = " ".join(str(error).split())
        program = None
    say("making generators")
    subjects = make_subjects(options)
    with tempfile.TemporaryDirectory(prefix="hepflows-export-") as directory:
        smaller: tuple[Storage, ...] = ("float16",) if options.quick else ("float16", "int8")
        files = _write_files(subjects, Path(directory), smaller, threads=options.threads)
        measured = measure(_sides(subjects, files, smaller), options.batches, options.effort)
        hosts: dict[str, dict[str, Any]] = {}
        if program is not None:
            plain = {name: files[name] for name in (("student",) if options.quick else subjects)}
            hosts = time_hosts(program, plain, options.batches, threads=options.threads, quick=options.quick)
        say("memory, loading, fresh processes")
        kept = {name: files[name] for name in files if name.startswith("student")}
        results = {
            "machine": describe_machine(libraries=(*LIBRARIES, "onnx", "onnxruntime")),
            "weights": {name: "given" if options.more.get(name.split("_")[0]) else "random" for name in subjects},
            "ms": _ms(measured, hosts, subjects),
            "file_bytes": {name: file.path.stat().st_size for name, file in files.items()},
            "dense_bytes": {name: subject.dense_bytes for name, subject in subjects.items()},
            "load_seconds": {
                name: load_seconds(file, threads=options.threads, repeats=1 if options.quick else 5)
                for name, file in files.items()
            },
            "stream": {
                name: time_streaming(file, stored_bytes(file.path), options.effort) for name, file in kept.items()
            },
            "finite": {name: is_finite(file, min(100, max(options.batches))) for name, file in files.items()},
            "hosts": hosts,
            "startup": _startup(subjects, files, Path(directory), options) if options.more["startup"] else {},
        }
    results |= _ratios(measured, max(options.batches))
    return {**results, "not_run": {**not_run, **measured.left_out}, "sides": measured.to_dict()}


def _write_files(
    subjects: Mapping[str, Subject], directory: Path, smaller: Sequence[Storage], *, threads: int
) -> dict[str, File]:
    """Export all generators, the student with smaller weights, too: files by the names of subject and storage."""
    paths: dict[str, tuple[Path, Subject]] = {}
    for name, subject in subjects.items():
        say(f"exporting {name}")
        path = directory / f"{name}.onnx"
        write_file(subject.generator, path)
        paths[name] = path, subject
        for storage in smaller if name == "student" else ():
            stored = directory / f"{name}_{storage}.onnx"
            store_as(path, stored, storage)
            paths[f"{name}_{storage}"] = stored, subject
    return {name: File.open(path, subject, threads=threads) for name, (path, subject) in paths.items()}


def _sides(subjects: Mapping[str, Subject], files: Mapping[str, File], smaller: Sequence[Storage]) -> dict[str, Side]:
    """All that one process can time in turns; names are ``RUNTIME SUBJECT``."""
    sides: dict[str, Side] = {}
    for name, subject in subjects.items():
        sides[f"torch {name}"] = torch_side(subject)
        sides[f"numba {name}"] = numba_side(subject)
        sides[f"onnxruntime {name}"] = Side(call=files[name].call)
    sides |= {f"onnxruntime_{storage} student": Side(call=files[f"student_{storage}"].call) for storage in smaller}
    return sides


def _ms(
    measured: Measured, hosts: Mapping[str, Mapping[str, Any]], subjects: Mapping[str, Subject]
) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds an event by subject, runtime and batch."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in subjects}
    for side in measured.timings:
        runtime, _, subject = side.partition(" ")
        found[subject][runtime] = measured.ms(side)
    for subject, by_batch in hosts.items():
        found[subject]["onnxruntime_cpp"] = {batch: entry["cpp_ms"] for batch, entry in by_batch.items()}
    return found


def _ratios(measured: Measured, largest: int) -> dict[str, Any]:
    """What the runtimes take against each other."""
    ratios = measured.ratios("teacher_over_student_by_batch", "onnxruntime teacher", "onnxruntime student")
    at_largest = ratios["teacher_over_student_by_batch"].get(str(largest))
    found: dict[str, Any] = {"teacher_over_student": at_largest, **ratios}
    for subject in {side.partition(" ")[2]: None for side in measured.timings}:
        for other in ("numba", "torch"):
            name = f"{subject}_onnxruntime_over_{other}"
            found |= measured.ratios(name, f"onnxruntime {subject}", f"{other} {subject}")
    return found


def _startup(
    subjects: Mapping[str, Subject], files: Mapping[str, File], directory: Path, options: Options
) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds to the first event in fresh processes: exported file, and artefact with its kernels on disk.

    The latter not if it is to be quick.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, subject in subjects.items():
        inputs = directory / f"{name}.npz"
        np.savez(inputs, cond=subject.columns(1), noise=noise_of(subject, 1))
        arguments = [str(files[name].path), str(inputs), "--threads", str(options.threads)]
        found[name] = {"onnxruntime": run_fresh("benchmarks.export_first_call", arguments)}
        if not options.quick:
            saved = subject.generator.save(directory / name)
            found[name]["numba"] = startup_of(saved, device="cpu", threads=options.threads, cold=False)["warm"]
    return found


def _why_no_geant4() -> str:
    if find_spec("calzone") is None or "GEANT4_DATA" not in os.environ:
        return "the extra geant4 is not installed, or its data are not there (GEANT4_DATA)"
    return "there is no `hepflows simulate` yet that would simulate the same showers in this run"


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches = Console(), results["settings"]["batches"]
    for subject, by_runtime in results["ms"].items():
        rows = [[runtime, *(ms.get(str(batch)) for batch in batches)] for runtime, ms in by_runtime.items()]
        console.print(table(f"{subject}: ms per event, median, by batch", ["", *map(str, batches)], rows))
    show_sides(console, "peak memory of one call, MiB, by batch", results["sides"], batches, key="peak_mib")
    by_batch = {name: value for name, value in results.items() if isinstance(value, dict)}
    show_ratios(console, "ratios by batch, of wall times and of processor times", by_batch, batches)
    _show_files(console, results)
    rows = [
        [f"{name}, {runtime}", *(seconds.get(key) for key in ("import_s", "load_s", "first_call_s", "peak_mib"))]
        for name, by_runtime in results["startup"].items()
        for runtime, seconds in by_runtime.items()
    ]
    if rows:
        columns = ["", "import s", "load s", "first event s", "memory MiB"]
        console.print(table("first event in a fresh process", columns, rows))
    show_notes(console, results)


def _show_files(console: Console, results: Mapping[str, Any]) -> None:
    """Sizes, loading, streaming, hosts."""
    rows = []
    for name, size in results["file_bytes"].items():
        subject = next(subject for subject in results["dense_bytes"] if name.startswith(subject))
        dense = results["dense_bytes"][subject]
        rows.append([name, size / _MIB, size / dense, results["load_seconds"][name]])
    console.print(table("files", ["", "MiB", "share of dense float32 weights", "load s"], rows))
    rows = [
        [name, entry["bytes"] / _MIB, *(entry[key] for key in _STREAM)] for name, entry in results["stream"].items()
    ]
    console.print(
        table(
            "batch 1 against reading the weights",
            ["", "weights MiB", "reading ms", "run ms", "ratio", "of least"],
            rows,
        )
    )
    batches = results["settings"]["batches"]
    rows = [
        [name, *(by_batch.get(str(batch), {}).get("cpp_over_python") for batch in batches)]
        for name, by_batch in results["hosts"].items()
    ]
    if rows:
        console.print(table("C++ host over Python host, by batch", ["", *map(str, batches)], rows))
    text = f"teacher over student in ONNX Runtime at batch {max(batches)}"
    console.print(table("", ["", ""], [[text, results["teacher_over_student"]]]))


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time against batch."""
    from benchmarks.plot import plot_results

    plot_results(results["sides"], path, title="Exported files", subtitle=describe(results))


def _add_options(parser: argparse.ArgumentParser) -> None:
    for name in ("student", "teacher", "jets"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help="artefact instead of random weights")
    parser.add_argument("--hidden", type=numbers, default=(378, 378), help="widths of the hidden layers")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--no-jets", dest="make_jets", action="store_false", help="no jets (as with --quick)")
    parser.add_argument("--no-startup", dest="startup", action="store_false", help="start no fresh processes")


if __name__ == "__main__":
    raise SystemExit(main())
