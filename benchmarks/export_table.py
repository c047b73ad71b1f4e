"""The results of `benchmarks.export` as Markdown: ``python -m benchmarks.export_table RESULT.json``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.benchmarking.tables import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GOAL_BATCH = "100"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One number that is to be reached.

    Attributes:
        what: in words.
        most: largest value that is good.
        found: median, None if it was not measured.
        beside: the same from times that other processes disturb less, if there are such.
        beside_is: what `beside` is, in words.
    """

    what: str
    most: float
    found: float | None
    beside: float | None = None
    beside_is: str = "of processor times"

    def row(self) -> str:
        """A row of the table."""
        shown = "not measured" if self.found is None else number(self.found)
        if self.beside is not None:
            shown += f" ({number(self.beside)} {self.beside_is})"
        verdict = "" if self.found is None else "met" if self.found <= self.most else "**missed**"
        return _row([self.what, f"at most {self.most:g}", shown, verdict])


def goals(results: Mapping[str, Any]) -> list[Goal]:
    """What the student's and the teacher's file are to reach."""
    size = {name: value / results["dense_bytes"]["student"] for name, value in results["file_bytes"].items()}
    stream = results["stream"]["student"]
    largest = str(max(results["settings"]["batches"]))
    over_numba, over_numba_cpu = (results[f"student_onnxruntime_over_numba{suffix}"] for suffix in ("", "_cpu"))
    hosts = results["hosts"].get("student", {}).get(_GOAL_BATCH, {})
    return [
        Goal(
            what="student, batch 1: run over reading the stored weights once",
            most=2,
            found=stream["run_over_stream"],
            beside=stream["run_over_stream_least"],
            beside_is="of least times",
        ),
        *(
            Goal(
                what=f"student, batch {batch}: ONNX Runtime over our sampler",
                most=1.5,
                found=over_numba[batch],
                beside=over_numba_cpu[batch],
            )
            for batch in over_numba
            if int(batch) >= int(_GOAL_BATCH)
        ),
        Goal(what="student's file over its dense float32 weights", most=0.7, found=size["student"]),
        Goal(what="the same with float16 weights", most=0.35, found=size["student_float16"]),
        Goal(
            what=f"teacher over student in ONNX Runtime, batch {largest}",
            most=6,
            found=results["teacher_over_student"],
            beside=results["teacher_over_student_by_batch_cpu"].get(largest),
        ),
        Goal(what="student: seconds to load", most=2, found=results["load_seconds"]["student"]),
        Goal(
            what=f"student, batch {_GOAL_BATCH}: C++ host over Python host",
            most=1.1,
            found=hosts.get("cpp_over_python"),
        ),
    ]


def text(results: Mapping[str, Any]) -> str:
    """Three tables, separated by empty lines: times, files, goals."""
    batches = [str(batch) for batch in results["settings"]["batches"]]
    times = [_row(["ms an event, by batch", *batches]), _rule(len(batches) + 1)]
    for subject, by_runtime in results["ms"].items():
        for runtime, ms in by_runtime.items():
            times.append(_row([f"{subject}, {runtime}", *(number(ms.get(batch)) for batch in batches)]))
    files = [_row(["file", "MB", "of dense float32 weights", "load s", "first event s", "memory MiB"]), _rule(6)]
    for name, size in results["file_bytes"].items():
        subject = next(subject for subject in results["dense_bytes"] if name.startswith(subject))
        fresh = results["startup"].get(name, {}).get("onnxruntime", {})
        share = f"{100 * size / results['dense_bytes'][subject]:.0f} %"
        last = [number(fresh.get("process_s")), number(fresh.get("peak_mib"))]
        files.append(_row([name, number(size / 1e6), share, number(results["load_seconds"][name]), *last]))
    reached = [_row(["goal", "", "measured", ""]), _rule(4), *(goal.row() for goal in goals(results))]
    return "\n\n".join("\n".join(part) for part in (times, files, reached)) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


if __name__ == "__main__":
    sys.stdout.write(text(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
