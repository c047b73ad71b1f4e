"""Dask in this process: tasks, tries and errors. Real worker processes are those of tests/command_line."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from hepflows import registry
from hepflows.errors import ConditionError
from hepflows.production import cluster
from hepflows.production.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

distributed = pytest.importorskip("distributed")

IN_SHARDS = ("--format", "toy", "--shard-size", 256)


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as local:
        yield local


@pytest.fixture
def dask_cluster(shared_cluster: Any) -> Iterator[Any]:
    """Its workers are threads: one that is still at a shard of a failed production shares the filters of warnings."""
    yield shared_cluster
    until = time.monotonic() + 60
    while any(worker.state.executing_count for worker in shared_cluster.workers.values()):
        assert time.monotonic() < until, "a worker does not come to an end"
        time.sleep(0.01)


@pytest.fixture
def produce(generate: Callable[..., int], dask_cluster: Any) -> Callable[..., int]:
    def run(out: str, *arguments: object) -> int:
        return generate(out, *IN_SHARDS, "--dask", dask_cluster.scheduler_address, *arguments)

    return run


@pytest.fixture
def faulty(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counter[int]]:
    """Let the toy generator fail at some first events, so many times each; gives how often they were sampled."""
    generator = type(registry.load(trained / "teacher"))
    sample = generator.sample

    def install(failures: dict[int, int], error: Exception) -> Counter[int]:
        seen: Counter[int] = Counter()

        def failing(self, conditions, **options):
            first = options["first_event"]
            seen[first] += 1
            if seen[first] <= failures.get(first, 0):
                raise error
            return sample(self, conditions, **options)

        monkeypatch.setattr(generator, "sample", failing)
        return seen

    return install


def test_events_are_those_of_one_process(produce, whole: str, listed) -> None:
    assert produce("prod") == 0
    assert listed() == json.loads(whole)


def test_the_scheduler_never_holds_many_tasks(produce, listed, whole: str, dask_cluster, monkeypatch) -> None:
    most = 0
    submit = distributed.Client.submit

    def counting(self, *arguments, **options):
        nonlocal most
        future = submit(self, *arguments, **options)
        most = max(most, len(dask_cluster.scheduler.tasks))
        return future

    monkeypatch.setattr(distributed.Client, "submit", counting)
    assert produce("prod") == 0
    assert 0 < most <= 2 * 2 + 3, "12 shards, two workers: two tasks a worker, and those being forgotten"
    assert listed() == json.loads(whole)


def test_a_worker_that_fails_is_not_the_end(produce, whole: str, listed, faulty) -> None:
    seen = faulty({512: 2, 1024: 1}, OSError("stale file handle"))
    assert produce("prod") == 0
    assert listed() == json.loads(whole)
    assert (seen[512], seen[1024], seen[768]) == (3, 2, 1)


def test_what_fails_everywhere_is_an_error_that_names_the_shard(produce, tmp_path: Path, capsys, faulty) -> None:
    seen = faulty({2560: 99}, ValueError("no luck"))
    assert produce("prod") == 2
    shown = capsys.readouterr().err
    for word in (
        "failed on several workers",
        "events-000000002560-000000002816.toy",
        "ValueError: no luck",
        "--resume",
    ):
        assert word in shown
    assert seen[2560] == cluster.TRIES
    assert produce("prod", "--resume") == 2, "it still fails"
    seen[2560] = 99
    assert produce("prod", "--resume") == 0


def test_bad_input_is_not_tried_again(produce, capsys, faulty) -> None:
    seen = faulty({0: 99}, ConditionError("outside the trained range", where="energy", found=3, remedy="--energy"))
    assert produce("prod") == 2
    shown = capsys.readouterr().err
    assert "energy: outside the trained range" in shown
    assert "found: 3" in shown
    assert seen[0] == 1


@pytest.mark.filterwarnings("default")
def test_memory_of_workers(generate, dask_cluster, capsys, faulty, listed, whole: str) -> None:
    tokens = ("--format", "toy", "--shard-size", 1024, "--dask", dask_cluster.scheduler_address)
    faulty({1024: 1}, MemoryError())
    assert generate("prod", *tokens) == 0
    assert "warning: memory is exhausted by a batch of 1024 events: going on with 512" in capsys.readouterr().err
    assert listed() == json.loads(whole)
    faulty({0: 99}, MemoryError())
    assert generate("other", *tokens) == 2
    assert "memory is exhausted by 256 events" in capsys.readouterr().err


def test_conditions_of_a_file_travel_with_their_shards(
    generate, trained: Path, toy_file: Path, tmp_path: Path, listed, dask_cluster
) -> None:
    from hepflows.cli import main

    tokens = ["generate", str(trained / "teacher"), "--seed", "3", "--like", str(toy_file), "--out"]
    assert main([*tokens, "one.toy"]) == 0
    dask = ["--dask", dask_cluster.scheduler_address]
    assert main([*tokens, "prod", *map(str, IN_SHARDS), *dask]) == 0
    assert listed() == json.loads((tmp_path / "one.toy").read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0"}, "another version of hepflows"),
        ({"seed": 8}, "does not see the directory"),
        ({"generator": {"name": "teacher", "task": "toy", "sha256": "0"}}, "does not see the directory"),
    ],
)
def test_workers_that_differ_refuse(produce, capsys, monkeypatch, change: dict[str, Any], words: str) -> None:
    real = cluster.make_on_worker

    def other(work, bounds, given):
        from dataclasses import replace

        content = work.request.model_dump(by_alias=True) | change
        return real(replace(work, request=Request.model_validate(content)), bounds, given)

    monkeypatch.setattr(cluster, "make_on_worker", other)
    assert produce("prod") == 2
    assert words in capsys.readouterr().err


def test_a_worker_with_another_generator_refuses(produce, trained: Path, capsys, monkeypatch) -> None:
    from hepflows.production import worker

    worker._loaded.cache_clear()
    monkeypatch.setattr(worker, "require_generator", lambda path, _: original(path, record))
    from hepflows.production.request import GeneratorRecord
    from hepflows.production.request import require_generator as original

    record = GeneratorRecord(name="teacher", task="toy", sha256="0")
    assert produce("prod") == 2
    assert "this is not the generator of the production" in capsys.readouterr().err


def test_no_scheduler(generate, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    before = sorted(tmp_path.iterdir())
    assert generate("prod", *IN_SHARDS, "--dask", "tcp://127.0.0.1:9") == 2
    shown = capsys.readouterr().err
    assert "no scheduler answers" in shown
    assert "dask scheduler" in shown
    assert sorted(tmp_path.iterdir()) == before


def test_dask_is_not_installed(generate, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    before = sorted(tmp_path.iterdir())
    assert generate("prod", *IN_SHARDS, "--dask", "local") == 2
    shown = capsys.readouterr().err
    assert 'pip install "hepflows[dask]"' in shown
    assert "--shard k/n" in shown
    assert sorted(tmp_path.iterdir()) == before


def test_workers_of_a_local_cluster(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert cluster.local_workers("local", None) == 8
    assert cluster.local_workers("local", 3) == 2
    assert cluster.local_workers("local:5", 3) == 5
    assert cluster.local_workers("tcp://host:8786", None) is None
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    assert cluster.local_workers(str(file), None) is None
