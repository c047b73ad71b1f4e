"""The submit files for batch systems: what they say is run, with the variables that the systems set."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hepflows.cli import main
from hepflows.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = Path(__file__).parents[2] / "examples" / "batch"
JOBS = 3
EVENTS = 1800
SHARD_SIZE = 512


def condor_commands(settings: dict[str, str]) -> list[list[str]]:
    """Command lines of all jobs of a submit description, as HTCondor expands its macros."""
    macros: dict[str, str] = {}
    queued = ""
    for line in (BATCH / "production.sub").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("queue"):
            queued = line.removeprefix("queue")
            continue
        name, equals, value = line.partition("=")
        assert equals, line
        assert re.fullmatch(r"\w+", name.strip()), line
        macros[name.strip()] = value.strip()
    assert settings.keys() <= macros.keys()
    macros |= settings

    def expanded(text: str, process: int) -> str:
        known = macros | {"ProcId": str(process), "ClusterId": "1"}
        while (plain := re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], text)) != text:
            text = plain

        def integer(found: re.Match[str]) -> str:
            left, plus, right = expanded(known[found[1]], process).partition("+")
            assert plus
            return str(int(left) + int(right))

        return re.sub(r"\$INT\((\w+)\)", integer, text)

    commands = [
        shlex.split(expanded(f"{macros['executable']} {macros['arguments']}", process))
        for process in range(int(expanded(queued, 0)))
    ]
    assert "$" not in str(commands)
    return commands


def slurm_commands(settings: dict[str, str], tmp_path: Path) -> list[list[str]]:
    """Command lines that the script of an array runs, found with a `hepflows` that says its arguments."""
    script = BATCH / "production.slurm"
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", script.read_text(), re.MULTILINE))
    assert re.fullmatch(r"1-\d+", options["array"]), "shares count from 1"
    stub = tmp_path / "bin" / "hepflows"
    stub.parent.mkdir()
    stub.write_text('#!/bin/bash\nprintf "%s\\n" hepflows "$@"\n')
    stub.chmod(0o755)
    commands = []
    for job in range(1, JOBS + 1):
        variables = {
            "PATH": f"{stub.parent}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(job),
            "SLURM_ARRAY_TASK_COUNT": str(JOBS),
            "SLURM_CPUS_PER_TASK": options["cpus-per-task"],
        }
        shown = subprocess.run(
            ["bash", script], env=variables | settings, capture_output=True, text=True, check=True
        ).stdout
        commands.append(shown.splitlines())
    return commands


@pytest.fixture
def whole(made: Path, tmp_path: Path) -> Path:
    """What one process writes at once."""
    out = tmp_path / "whole.h5"
    student = made / "run" / "student"
    tokens = ["generate", student, "--energy", "10..50GeV", "-n", EVENTS, "--seed", 7, "--out", out]
    assert main([str(token) for token in tokens]) == 0
    return out


@pytest.mark.parametrize("system", ["htcondor", "slurm"])
def test_all_jobs_together_give_what_one_process_gives(made: Path, whole: Path, tmp_path: Path, system: str) -> None:
    named = {"artefact": made / "run" / "student", "out": tmp_path / "prod", "energy": "10..50GeV"}
    named |= {"events": EVENTS, "seed": 7, "shard_size": SHARD_SIZE}
    settings = {name: str(value) for name, value in named.items()}
    if system == "htcondor":
        commands = condor_commands(settings | {"jobs": str(JOBS), "hepflows": "hepflows"})
    else:
        commands = slurm_commands({name.upper(): value for name, value in settings.items()}, tmp_path)
    assert len(commands) == JOBS
    for program, *tokens in reversed(commands):
        assert program == "hepflows"
        assert main(tokens) == 0
    assert main(["merge", str(tmp_path / "prod"), "--out", str(tmp_path / "merged.h5")]) == 0
    assert sha256_of(tmp_path / "merged.h5") == sha256_of(whole)
    assert main(commands[0][1:]) == 0, "a repeated job finds its work done"


@pytest.mark.parametrize("parsed", [lambda _: condor_commands({}), lambda path: slurm_commands({}, path)])
def test_as_they_stand_every_job_has_work(parsed: Callable[[Path], list[list[str]]], tmp_path: Path) -> None:
    from hepflows.production.batches import shard_bounds

    for command in parsed(tmp_path):
        options = dict(zip(command[3::2], command[4::2], strict=False))
        size = int(options["--shard-size"])
        first, last = shard_bounds(int(options["-n"]), options["--shard"], tile=size)
        assert last > first
