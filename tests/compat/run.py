"""`make test-compat`: exports files once and checks them with every runtime; prints a table.

``python tests/compat/run.py FOLDER`` with one environment a version of onnxruntime in FOLDER/VERSION, and the
JavaScript packages in FOLDER/node. The exit code is 1 if anything lies outside its tolerance or does not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("onnxruntime-node", "onnxruntime-web")
_THREADS: Final = (1, 2)
_NEED_NO_PATTERNS: Final = {("onnxruntime", "1.18.1")}
"""Runtimes whose planned memory overlaps from the second run of a shape on; clients here never have it planned.

docs/embedding.md tells hosts so.
"""
_COLUMNS: Final = "{:<17} {:<8} {:<17} {:<12} {:>7}  {}\n"


def main() -> int:
    """Export, check, print."""
    folder = Path(sys.argv[1]).resolve()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        _write("exporting ...\n")
        made = _call([sys.executable, str(_HERE / "cases.py"), temporary])
        if made.returncode:
            _write(f"{made.stdout}{made.stderr}\n")
            return 1
        files = sorted(str(path) for path in Path(temporary).glob("*/*.onnx"))
        _write(_COLUMNS.format("runtime", "version", "file", "optimisation", "threads", "off by / allowed"))
        for name, command in _commands(folder):
            failures += _check(name, [*command, *files], files)
    for words in failures:
        _write(f"FAILED {words}\n")
    _write(f"{len(failures)} failures\n" if failures else "every runtime reproduces every file\n")
    return 1 if failures else 0


def _commands(folder: Path) -> list[tuple[str, list[str]]]:
    """What to call, by the name of a runtime; the files follow."""
    commands = [
        (f"onnxruntime {runtime.stem}", [str(folder / runtime.stem / "bin" / "python"), str(_HERE / "check.py")])
        for runtime in sorted((_HERE / "runtimes").glob("*.txt"))
    ]
    script, modules = str(_HERE / "verify.mjs"), str(folder / "node" / "node_modules")
    for package in _PACKAGES:
        commands += [(package, ["node", script, modules, package, str(threads)]) for threads in _THREADS]
    return commands


def _check(name: str, command: list[str], files: list[str]) -> list[str]:
    """Run one runtime over all files, print its rows, return what failed."""
    try:
        done = _call(command)
    except FileNotFoundError:
        return [f"{name}: {command[0]} was not found"]
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    failures = [words for outcome in outcomes for words in _row(outcome)]
    missing = {Path(file).stem for file in files} - {outcome["file"] for outcome in outcomes}
    if missing or (done.returncode and not failures):
        lines = done.stderr.strip().splitlines()
        reason = next((line for line in reversed(lines) if "Error" in line), "no reason given")
        failures.append(f"{name}: exit code {done.returncode}, no result for {sorted(missing)}: {reason}")
    return failures


def _row(outcome: dict[str, Any]) -> list[str]:
    """Print an outcome, return what is wrong with it, in words."""
    version, file, optimisation = outcome["version"], outcome["file"], outcome.get("optimisation", "-")
    by_default = [f"with default options, {words}" for words in outcome.get("host_failures", [])]
    known = (outcome["runtime"], version) in _NEED_NO_PATTERNS
    wrong = [*outcome["failures"], *([] if known else by_default)]
    result = f"{outcome['off_by']:.2g} / {outcome['allowed']:.2g}" if "off_by" in outcome else "-"
    note = "  FAILED" if wrong else "  only without memory patterns" if by_default else ""
    _write(_COLUMNS.format(outcome["runtime"], version, file, optimisation, outcome.get("threads", "-"), result + note))
    where = (
        f"{outcome['runtime']} {version}, {file}, optimisation {optimisation}, threads {outcome.get('threads', '-')}"
    )
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return [f"{where}: {wrong[0]}{more}"] if wrong else []


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
