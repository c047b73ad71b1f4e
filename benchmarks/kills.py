"""Kill commands at random moments, run them again, and compare with runs that nobody disturbed.

python -m benchmarks.kills                       30 kills of every command
python -m benchmarks.kills --only train --trials 100

Half of the kills (SIGKILL) come after a random time, half at a random operation of the file system (a rename, a
directory made, a file removed or synchronised), where a half-written result would show. After each kill all that
stands under a final name is given to its reader, which must accept it, and then it must be the undisturbed result, or
refuse it with a clear error. Then the command is run again, with --resume or --force where there is something to
resume or replace, and must give the undisturbed result. Commands run in forks of a process that has imported
everything, so that kills meet work rather than imports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.errors import HepflowsError
from hepflows.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CONFIG = """
task = "calofast"
[data]
first = 200
[layer_energies]
blocks = 2
hidden = [8]
training = { epochs = 2, batch_size = 90 }
[teacher]
blocks = 2
hidden = [16]
training = { epochs = 2, batch_size = 90 }
[student]
hidden = [16]
training = { epochs = 2, batch_size = 90 }
"""
_PRELOADED = ("torch", "numba", "h5py", "calofast.training", "calofast.generator", "hepflows.cli")
_WATCHED = ("replace", "rename", "mkdir", "unlink", "rmdir", "fsync")
_PATIENCE = 4
_STATED_TIMES = {"seconds", "created", "date", "time", "duration_s", "timing"}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes something.

    Attributes:
        name: of the command.
        arguments: given the folder to write to.
        again: further arguments if what a killed run left is continued or replaced.
        read: reads what is complete in the folder and returns what is compared; {} if nothing is there.
        missing: why it cannot run here, or "".
    """

    name: str
    arguments: Callable[[Path], Sequence[object]]
    again: str
    read: Callable[[Path], Mapping[str, Any]]
    missing: str = ""


class KillError(AssertionError):
    """A killed command left something wrong behind, or gave another result when it was run again."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="name of a command; may be repeated")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hepflows-kills-") as folder:
        for name, command in prepare(Path(folder)).items():
            if given.only and name not in given.only:
                continue
            if command.missing:
                print(f"{name}: skipped, {command.missing}")
                continue
            start = time.perf_counter()
            killed = disturb(command, Path(folder), trials=given.trials, seed=given.seed)
            print(f"{name}: {killed} runs killed, all results as without, "
                  f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    return 0


def prepare(folder: Path) -> dict[str, Command]:
    """The commands, and what they need: a trained run and two files of showers in `folder`."""
    from calofast.reading import embedded_showers_path

    data, config, run = embedded_showers_path(), folder / "config.toml", folder / "needed"
    config.write_text(_CONFIG, encoding="utf-8")
    train = ("train", config, "--data", data, "--device", "cpu", "--out")
    like = ("--like", data, "--part", "0.8:1.0", "-n", 600, "--seed", 7, "--out")
    _must(_call([*train, run]), "training")
    _must(_call(["generate", run / "student", *like, folder / "needed.h5"]), "generation")
    validate = ("validate", data, folder / "needed.h5", "--part", "0.8:1.0", "--trainings", 0, "--out")
    simulate = ("simulate", "--geometry", "calogan", "--particle", "e+", "--energy", "1GeV", "-n", 40, "--seed", 1)
    commands = [
        Command(name="train", again="--resume", read=_artefacts, arguments=lambda out: [*train, out / "run"]),
        Command(
            name="distill",
            again="--resume",
            read=_artefacts,
            arguments=lambda out: ["distill", run / "teacher", "--data", data, "--out", out / "run" / "student"],
        ),
        Command(
            name="generate",
            again="--force",
            read=_showers,
            arguments=lambda out: ["generate", run / "student", *like, out / "new.h5"],
        ),
        Command(
            name="export",
            again="--force",
            read=_model,
            arguments=lambda out: ["export", run / "student", "--out", out / "new.onnx"],
        ),
        Command(
            name="simulate",
            again="--resume",
            read=_simulated,
            arguments=lambda out: [*simulate, "--out", out / "new.h5"],
            missing=_no_geant4(),
        ),
        Command(name="validate", again="--force", read=_report, arguments=lambda out: [*validate, out / "report"]),
    ]
    return {command.name: command for command in commands}


def disturb(command: Command, folder: Path, *, trials: int, seed: int) -> int:
    """Kill a command again and again, until so many runs were killed before they had ended; returns how many were.

    Raises:
        KillError: a reader took something half-written, or the result differs from the undisturbed one.
    """
    rng = random.Random(f"{seed}/{command.name}")  # noqa: S311 - reproducible, not secret
    calm = folder / f"{command.name}-calm"
    calm.mkdir()
    _must(_call(command.arguments(calm)), command.name)
    expected = command.read(calm)
    timed = folder / f"{command.name}-timed"  # the first run compiles; this one is as long as those that are killed
    timed.mkdir()
    start = time.perf_counter()
    _must(_call(command.arguments(timed), count_into=timed / "operations"), command.name)
    seconds, operations = time.perf_counter() - start, int((timed / "operations").read_text(encoding="utf-8"))
    if not expected:
        raise KillError(f"{command.name}: the undisturbed run gave nothing")
    killed = 0
    for trial in range(_PATIENCE * trials):  # some runs end before their kill
        if killed == trials:
            break
        out = folder / f"{command.name}-{trial}"
        out.mkdir()
        moment = {"after": rng.uniform(0.0, seconds)} if trial % 2 else {"at_operation": rng.randint(1, operations)}
        killed += _call(command.arguments(out), **moment) == -signal.SIGKILL
        left = _accepted(command, out)
        if any(expected.get(name) != value for name, value in left.items()):
            raise KillError(f"{command.name} killed {moment}: a reader took what is not the result")
        if left != expected:
            entries = any(out.iterdir())
            code = _call([*command.arguments(out), *([command.again] if entries else [])])
            if code != 0 and command.again == "--resume":  # killed before there was anything to resume
                code = _call(command.arguments(out))
            _must(code, f"{command.name} killed {moment}, run again: {sorted(map(str, out.rglob('*')))}")
            if command.read(out) != expected:
                raise KillError(f"{command.name} killed {moment}: another result when run again")
        shutil.rmtree(out)
    return killed


def _accepted(command: Command, out: Path) -> Mapping[str, Any]:
    """What a reader takes of a folder now; a clear error means that it takes nothing."""
    try:
        return command.read(out)
    except HepflowsError:
        return {}


def _must(code: int | None, what: str) -> None:
    if code != 0:
        raise KillError(f"{what}: exit code {code}")


def _call(
    arguments: Sequence[object],
    *,
    after: float | None = None,
    at_operation: int | None = None,
    count_into: Path | None = None,
) -> int | None:
    """Run a command in a fork, killed after some seconds or at an operation of the file system; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    process = context.Process(target=_child, args=([str(word) for word in arguments], at_operation, count_into))
    process.start()
    if after is not None:
        process.join(after)
        with contextlib.suppress(ProcessLookupError):  # its own workers as well, once it leads a group
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
    process.join()
    return process.exitcode


def _child(arguments: list[str], at_operation: int | None, count_into: Path | None) -> None:
    import torch

    from hepflows.cli import main as command_line

    torch.set_num_threads(1)
    os.setsid()
    done = 0
    real = {name: getattr(os, name) for name in _WATCHED}

    def watched(name: str) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done == at_operation:
                os.killpg(0, signal.SIGKILL)
            return real[name](*words, **options)

        return call

    for name in _WATCHED:
        setattr(os, name, watched(name))
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        sys.stdout = sys.stderr = nowhere
        code = command_line(arguments)
    if count_into is not None:
        count_into.write_text(str(done), encoding="utf-8")
    sys.exit(code)


def _artefacts(out: Path) -> dict[str, Any]:
    from hepflows.registry import load

    found = {}
    for path in sorted((out / "run").glob("[!.]*/generator.json")):  # what is being written has a name with a point
        load(path.parent)
        found[path.parent.name] = sha256_of(path.parent / "weights.safetensors")
    return found


def _showers(out: Path) -> dict[str, Any]:
    from calofast.reading import read_showers

    path = out / "new.h5"
    if not path.exists():
        return {}
    showers = read_showers(path)
    return {"voxels": showers.voxels_mev.tobytes(), "energies": showers.incident_energy_gev.tobytes()}


def _simulated(out: Path) -> dict[str, Any]:
    return _showers(out)


def _model(out: Path) -> dict[str, Any]:
    from hepflows.registry import load

    path = out / "new.onnx"
    if not path.exists():
        return {}
    load(path)
    return {"model": sha256_of(path), "golden": sha256_of(path.with_suffix(".golden.bin"))}


def _report(out: Path) -> dict[str, Any]:
    path = out / "report" / "report.json"
    if not path.exists():
        return {}
    return {"report": _timeless(json.loads(path.read_text(encoding="utf-8"))["samples"])}


def _timeless(value: Any) -> Any:
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _STATED_TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _no_geant4() -> str:
    from calofast.detector import detector
    from calofast.geant4_data import import_calzone, require_data_sets
    from calofast.truth_engine import Physics
    from hepflows.errors import MissingDependencyError

    try:
        import_calzone()
        require_data_sets(detector("calogan"), Physics())
    except MissingDependencyError as problem:
        return problem.what
    return ""


if __name__ == "__main__":
    sys.exit(main())
