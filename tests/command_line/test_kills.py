"""Commands killed with SIGKILL: no reader takes half a result, and the next run gives the undisturbed one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.kills import Command, KillError, disturb, prepare
from hepflows.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Command]:
    return prepare(tmp_path_factory.mktemp("kills"))


def test_killed_generation(commands: dict[str, Command], tmp_path: Path) -> None:
    assert disturb(commands["generate"], tmp_path, trials=2, seed=1) >= 1


def test_a_reader_that_takes_half_a_result_is_found(commands: dict[str, Command], tmp_path: Path) -> None:
    def careless(out: Path) -> dict[str, Any]:
        files = [path for path in out.rglob("*") if path.suffix in (".tmp", ".h5")]
        if not files:
            raise DataError("nothing there", where=out)
        return {"a file": max(path.stat().st_size for path in files), "its name": files[0].suffix}

    with pytest.raises(KillError, match="not the result"):
        disturb(replace(commands["generate"], read=careless), tmp_path, trials=10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["train", "distill", "generate", "export", "simulate", "validate"])
def test_killed_thirty_times(commands: dict[str, Command], name: str, tmp_path: Path) -> None:
    if commands[name].missing:
        pytest.skip(commands[name].missing)
    assert disturb(commands[name], tmp_path, trials=30, seed=0) >= 20
