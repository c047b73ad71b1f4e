from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows import registry
from hepflows.blocks import in_blocks
from hepflows.errors import ConfigError, ResourceError
from hepflows.production.batches import sampled, shard_bounds
from hepflows.production.conditions import DrawnConditions, GivenConditions, check_conditions
from hepflows.train.progress import PlainReporter

RANGES = {"incident_energy_gev": (1.0, 100.0)}


@pytest.fixture
def toy(trained):
    return registry.load(trained / "teacher")


def drawn(toy, n: int) -> DrawnConditions:
    return DrawnConditions(n=n, generator=toy, seed=7, ranges=RANGES)


class Cramped:
    """A generator on a machine whose memory holds only so many events."""

    def __init__(self, toy, most: int, error: Exception) -> None:
        self.toy, self.most, self.error, self.tried = toy, most, error, []

    def sample(self, conditions, *, n: int, **options):
        self.tried.append(n)
        if n > self.most:
            raise self.error
        return self.toy.sample(conditions, n=n, **options)


class TestMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_the_batch_is_halved_until_it_fits(self, toy, error: Exception) -> None:
        cramped = Cramped(toy, 700, error)
        options = {"seed": 7, "bounds": (512, 5000)}
        with pytest.warns(UserWarning, match="memory is exhausted by a batch of"):
            parts = list(sampled(cramped, drawn(toy, 5000), batch=4096, **options))
        assert cramped.tried[:3] == [4096, 2048, 1024]
        assert set(cramped.tried[3:-1]) == {512}, "it stays small"
        whole = np.concatenate([part.values for part in sampled(toy, drawn(toy, 5000), batch=256, **options)])
        assert np.concatenate([part.values for part in parts]).tobytes() == whole.tobytes()

    def test_a_machine_too_small_for_a_tile(self, toy) -> None:
        with (
            pytest.warns(UserWarning, match="going on with 256"),
            pytest.raises(ResourceError, match="memory is exhausted by 256 events"),
        ):
            list(sampled(Cramped(toy, 255, MemoryError()), drawn(toy, 1000), seed=7, bounds=(0, 1000), batch=512))

    def test_other_errors_pass(self, toy) -> None:
        cramped = Cramped(toy, 255, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            list(sampled(cramped, drawn(toy, 1000), seed=7, bounds=(0, 1000), batch=512))
        assert cramped.tried == [512]


class TestConditions:
    @given(cuts=st.lists(st.integers(0, 1000), max_size=5))
    def test_drawn_ones_do_not_depend_on_the_part(self, cuts: list[int]) -> None:
        from hepflows.philox import uniform_noise

        class Drawing:
            def draw_conditions(self, n, *, seed, first_event, ranges):
                low, high = ranges["e"]
                return {"e": low + (high - low) * uniform_noise(seed, first_event, n, 1, stream=0x45)[:, 0]}

        conditions = DrawnConditions(n=1000, generator=Drawing(), seed=3, ranges={"e": (1.0, 2.0)})
        edges = sorted({0, 1000, *cuts})
        parts = [conditions.part(*pair)["e"] for pair in itertools.pairwise(edges)]
        assert np.concatenate(parts).tobytes() == conditions.part(0, 1000)["e"].tobytes()

    def test_those_of_a_shard_alone(self) -> None:
        values = np.arange(100.0)
        whole = GivenConditions(n=100, values={"e": values})
        shard = GivenConditions(n=100, values={"e": values[40:60]}, first=40)
        assert shard.part(45, 50)["e"].tolist() == whole.part(45, 50)["e"].tolist() == [45, 46, 47, 48, 49]

    def test_all_are_checked_in_pieces(self, monkeypatch) -> None:
        from hepflows.production import conditions

        monkeypatch.setattr(conditions, "_CHECKED_AT_ONCE", 30)
        seen: list[float] = []

        class Checking:
            def check_conditions(self, part):
                seen.extend(part["e"])

        check_conditions(Checking(), GivenConditions(n=100, values={"e": np.arange(100.0)}), (10, 95))
        assert seen == list(range(10, 95))

    @pytest.mark.parametrize(("quick", "shown"), [(100, ""), (84, "checking conditions: 85/85 events")])
    def test_progress_is_shown_where_there_are_many(self, monkeypatch, quick: int, shown: str) -> None:
        from hepflows.production import conditions

        class Checking:
            def check_conditions(self, part):
                pass

        monkeypatch.setattr(conditions, "_QUICK", quick)
        given, log = GivenConditions(n=100, values={"e": np.arange(100.0)}), io.StringIO()
        check_conditions(Checking(), given, (10, 95), reporter=PlainReporter(log))
        assert log.getvalue()[: len(shown)] == shown
        assert bool(log.getvalue()) == bool(shown)


class TestShares:
    @given(total=st.integers(1, 10_000), n=st.integers(1, 12), tile=st.sampled_from([1, 256, 1024]))
    def test_shares_are_whole_tiles_and_cover_all(self, total: int, n: int, tile: int) -> None:
        tiles = -(-total // tile)
        if n > tiles:
            return
        bounds = [shard_bounds(total, f"{k}/{n}", tile=tile) for k in range(1, n + 1)]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == total
        assert [last for _, last in bounds[:-1]] == [first for first, _ in bounds[1:]]
        assert all(first % tile == 0 and first < last for first, last in bounds)

    @pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", ""])
    def test_what_is_no_share(self, text: str) -> None:
        with pytest.raises(ConfigError, match="not a share"):
            shard_bounds(1000, text)


class Row(tuple):
    __slots__ = ()

    def select(self, index: slice) -> Row:
        return Row(self[index])


@given(chunks=st.lists(st.lists(st.integers(), max_size=9), max_size=9), n=st.integers(1, 12))
def test_blocks_hold_the_same_events(chunks: list[list[int]], n: int) -> None:
    blocks = list(in_blocks(map(Row, chunks), n, lambda parts: Row(x for part in parts for x in part)))
    assert [x for block in blocks for x in block] == [x for chunk in chunks for x in chunk]
    assert all(len(block) == n for block in blocks[:-1])
    assert all(0 < len(block) <= n for block in blocks)
