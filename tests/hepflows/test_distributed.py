"""Training on several processes: the same as on one, whatever goes wrong in one of them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hepflows.errors import ConfigError
from hepflows.train import distributed
from hepflows.train.checkpoint import load_checkpoint
from hepflows.train.distributed import Processes

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).with_name("shared_training.py")


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_training", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def one(script: ModuleType) -> dict[str, Any]:
    result: dict[str, Any] = script.train()
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, script: ModuleType) -> Path:
    """Where two processes have done all trainings of the script."""
    folder = tmp_path_factory.mktemp("two")
    assert "one_process" in script.train(folder / "one_process", stop=6)["stopped"]
    done = torchrun(SCRIPT, folder, "all")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def agree(found: dict[str, Any], expected: dict[str, Any]) -> None:
    torch.testing.assert_close(torch.tensor(found["losses"]), torch.tensor(expected["losses"]), rtol=2e-6, atol=1e-7)
    for a, b in zip(found["weights"], expected["weights"], strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-5, atol=1e-5)


def test_two_processes_train_as_one(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    """Noise, dropout and choices are those of the whole batch, also of a batch smaller than the processes are many."""
    assert [each["rank"] for each in two] == [0, 1]
    for each in two:
        agree(each["plain"], one)
    assert two[0]["plain"]["losses"] == two[1]["plain"]["losses"]
    assert two[0]["plain"]["weights"] == two[1]["plain"]["weights"]
    assert [each["plain"]["calls"] for each in two] == [16, 20]
    assert [each["plain"]["steps"] for each in two] == [20, 20]


def test_a_batch_that_is_bad_on_one_process_is_skipped_on_all(two: list[dict[str, Any]]) -> None:
    assert two[0]["poisoned"]["weights"] == two[1]["poisoned"]["weights"]
    for each in two:
        assert [skipped for _, _, skipped in each["poisoned"]["losses"]] == [1, 0, 0, 0]


def test_memory_that_is_short_on_one_process_makes_parts_smaller_on_all(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    for each in two:
        agree(each["lacking"], one)
        assert each["lacking"]["steps"] == 20
    assert two[0]["lacking"]["calls"] > 3 * 16


def test_one_process_stops_all_and_another_number_resumes(
    folder: Path, script: ModuleType, one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    for each in two:
        assert "--resume continues from" in each["stopped"]["stopped"]
        assert each["stopped"]["losses"] == []
        agree(each["resumed"], one)  # what one process began
    state = load_checkpoint(folder / "stopped" / "checkpoint.safetensors")[1]
    assert 7 <= state["step"] <= 8
    agree(script.train(folder / "stopped", resume=True), one)


def test_batch_normalisation_ends_alike_on_all_processes(script: ModuleType, two: list[dict[str, Any]]) -> None:
    """Each normalises its own events, so that losses are only close to those of one process."""
    assert two[0]["normed"]["weights"] == two[1]["normed"]["weights"]
    assert two[0]["normed"]["losses"] == two[1]["normed"]["losses"]
    alone = script.train(normed=True)["losses"]
    assert two[0]["normed"]["losses"][-1] == pytest.approx(alone[-1], rel=0.5)
    assert two[0]["normed"]["losses"] != alone


def test_only_the_first_process_writes(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "plain").iterdir()) == ["checkpoint.safetensors", "log.jsonl"]


def test_when_a_process_is_killed_the_others_save_and_say_so(
    tmp_path: Path, script: ModuleType, one: dict[str, Any]
) -> None:
    done = torchrun(SCRIPT, tmp_path, "killed")
    assert done.returncode == 1
    told = (tmp_path / "told").read_text()
    # torchrun ends the others with SIGTERM, which may be what they notice first
    assert "another process of this training has ended" in told or "--resume continues from" in told
    assert load_checkpoint(tmp_path / "killed" / "checkpoint.safetensors")[1]["step"] >= 7
    agree(script.train(tmp_path / "killed", resume=True), one)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.slow
def test_two_gpus_train_as_one(tmp_path: Path, script: ModuleType) -> None:
    done = torchrun(SCRIPT, tmp_path, "cuda")
    assert done.returncode == 0, done.stderr
    alone = script.train(device="cuda")
    for rank in (0, 1):
        agree(json.loads((tmp_path / f"{rank}.json").read_text()), alone)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_a_partition(size: int) -> None:
    for count in (0, 1, 5, 100):
        parts = [Processes(rank, size).part(count) for rank in range(size)]
        assert [event for first, last in parts for event in range(first, last)] == list(range(count))
        sizes = [last - first for first, last in parts]
        assert max(sizes) - min(sizes) <= 1


def test_one_gpu_for_all_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="share one GPU"), distributed.setup("cuda:0"):
        pass


def test_without_torchrun_there_is_one_process() -> None:
    with distributed.setup("cpu") as device:
        assert device == "cpu"
        assert distributed.current() == Processes(0, 1)
        assert distributed.current().from_first(lambda: 3) == 3
