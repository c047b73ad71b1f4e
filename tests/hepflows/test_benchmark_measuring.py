"""Timing with a clock that only the timed functions advance, memory, start-up, and how figures are written."""

from __future__ import annotations

import io
import json
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from hepflows.benchmarking import memory, timing
from hepflows.benchmarking.machine import describe_machine, version_of
from hepflows.benchmarking.startup import measure_startup, run_fresh
from hepflows.benchmarking.tables import number, table, write_json
from hepflows.benchmarking.timing import Effort, Timing, lap, time_alternately
from hepflows.errors import ConfigError, HepflowsError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Clock:
    """Wall time and processor time that pass only in `spend`."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.log: list[str] = []

    def spend(self, name: str, wall: float, cpu: float) -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.wall += wall
            self.cpu += cpu

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: found.wall)
    monkeypatch.setattr(time, "process_time", lambda: found.cpu)
    assert timing.time is time
    return found


class TestTiming:
    def test_sides_take_turns_after_a_warm_up(self, clock: Clock) -> None:
        effort = Effort(repeats=3, seconds=0.0, patience_s=100.0, lap_s=0.5)
        found = time_alternately({"a": clock.spend("a", 1.0, 0.5), "b": clock.spend("b", 2.0, 1.5)}, effort)
        assert clock.log == ["a", "a", "b", "b", *["a", "b"] * 3]
        assert found["a"] == Timing(wall_s=(1.0,) * 3, cpu_s=(0.5,) * 3)
        assert found["b"].value("cpu") == 1.5
        clock.log.clear()
        time_alternately({"a": clock.spend("a", 1.0, 0.5)}, effort, warm={"a": 1.0})
        assert clock.log == ["a"] * 3

    def test_quick_functions_are_called_in_groups(self, clock: Clock) -> None:
        effort = Effort(repeats=2, seconds=0.0, lap_s=0.02)
        found = time_alternately({"a": clock.spend("a", 0.003, 0.001)}, effort)["a"]
        assert found.calls_per_lap == 7
        assert len(clock.log) == 2 + 2 * 7
        assert found.value() == pytest.approx(0.003)
        assert found.value("cpu") == pytest.approx(0.001)

    def test_laps_go_on_until_the_time_is_reached(self, clock: Clock) -> None:
        effort = Effort(repeats=2, seconds=5.0, lap_s=0.0)
        assert len(time_alternately({"a": clock.spend("a", 0.5, 0.5)}, effort)["a"].wall_s) == 10
        most = Effort(repeats=2, seconds=5.0, lap_s=0.0, most_repeats=4)
        assert len(time_alternately({"a": clock.spend("a", 0.5, 0.5)}, most)["a"].wall_s) == 4

    def test_patience_ends_slow_sides_after_one_lap(self, clock: Clock) -> None:
        effort = Effort(repeats=5, seconds=0.0, patience_s=2.0, lap_s=0.0)
        found = time_alternately({"slow": clock.spend("slow", 3.0, 3.0), "fast": clock.spend("fast", 0.1, 0.1)}, effort)
        assert len(found["slow"].wall_s) == 1
        assert clock.log.count("slow") == 2  # a warm-up and a lap
        assert len(found["fast"].wall_s) == 5

    def test_statistics(self) -> None:
        found = Timing(wall_s=(4.0, 1.0, 2.0, 3.0, 10.0), cpu_s=(1.0, 1.0, 2.0, 2.0, 2.0))
        assert (found.value(), found.value("cpu"), found.value("least")) == (3.0, 2.0, 1.0)
        assert found.quartiles() == (2.0, 4.0)
        assert found.scaled(10.0).value() == 30.0
        assert Timing(wall_s=(2.0,), cpu_s=(1.0,)).quartiles() == (2.0, 2.0)
        entry = found.to_dict(calls=100)
        assert (entry["ms"], entry["cpu_ms"], entry["laps"]) == (30.0, 20.0, 5)

    def test_one_lap(self, clock: Clock) -> None:
        assert lap(clock.spend("a", 2.0, 1.0), 4) == Timing(wall_s=(2.0,), cpu_s=(1.0,), calls_per_lap=4)

    @pytest.mark.parametrize("wrong", [{"repeats": 0}, {"repeats": 9, "most_repeats": 5}, {"seconds": -1.0}])
    def test_impossible_efforts_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match="repeat"):
            Effort(**wrong)

    def test_garbage_collection_is_back_afterwards(self) -> None:
        import gc

        states: list[bool] = []
        time_alternately({"a": lambda: states.append(gc.isenabled())}, Effort(repeats=1, seconds=0.0))
        assert states[-1] is False
        assert gc.isenabled()


class TestMemory:
    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no mark that can be reset")
    def test_peak_counts_what_is_freed_again(self) -> None:
        if not memory._reset_mark():
            pytest.skip("this kernel does not let the mark be reset")

        def work() -> None:
            for size in (80, 20):
                np.ones(size * 2**17)  # 2^17 doubles are 1 MiB

        peak = memory.peak_growth_mib(work)
        assert peak is not None
        assert 75 < peak < 110
        small = memory.peak_growth_mib(lambda: None)
        assert small is not None
        assert small < 20

    def test_without_a_mark_only_new_peaks_are_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_reset_mark", lambda: False)
        marks = iter([5 * 2**20, 5 * 2**20, 5 * 2**20, 9 * 2**20])
        monkeypatch.setattr(memory, "_process_peak_bytes", lambda: next(marks))
        assert memory.peak_growth_mib(lambda: None) is None
        assert memory.peak_growth_mib(lambda: None) == 4.0


def test_machine_is_described() -> None:
    found = describe_machine(libraries=("torch", "no-such-library"))
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["torch_threads"] == 1
    assert found["versions"] == {"torch": version_of("torch"), "no-such-library": None}
    json.dumps(found)


class TestStartup:
    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "first_steps.py").write_text(
            "import json, os, sys\n"
            "if sys.argv[1] == 'fail':\n"
            "    sys.exit('no flow today')\n"
            "cache = os.environ.get('NUMBA_CACHE_DIR')\n"
            "print('chatter')\n"
            "print(json.dumps({'empty_s': float(cache is not None and not os.listdir(cache)), 'n_s': len(sys.argv)}))\n"
        )
        return "first_steps"

    def test_cold_has_an_empty_directory_of_kernels(self, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        found = measure_startup(module, ["one", "two"])
        assert (found["warm"]["empty_s"], found["cold"]["empty_s"]) == (0.0, 1.0)
        assert found["warm"]["n_s"] == 3.0
        assert found["cold"]["process_s"] > 0
        assert set(measure_startup(module, ["one"], cold=False)) == {"warm"}

    def test_failures_are_told(self, module: str) -> None:
        with pytest.raises(HepflowsError, match="no flow today"):
            run_fresh(module, ["fail"])


class TestTables:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(1234.5, "1,234"), (12.345, "12.3"), (0.012345, "0.0123"), (1.2e-9, "1.20e-09"), (0.0, "0"), (None, "-"),
         ("x", "x"), (7, "7"), (float("inf"), "inf")],
    )  # fmt: skip
    def test_numbers_have_three_digits(self, value: object, text: str) -> None:
        assert number(value) == text

    def test_table(self) -> None:
        shown = io.StringIO()
        Console(width=80, file=shown).print(table("title", ["a", "b"], [["[x]", 1.5]]))
        assert all(part in shown.getvalue() for part in ("title", "[x]", "1.50"))

    def test_json_has_six_digits_and_no_infinities(self, tmp_path: Path) -> None:
        file = tmp_path / "figures.json"
        write_json(file, {"x": 1 / 3, "n": [float("nan"), 2], "by": {16: (0.1234567891,)}})
        assert json.loads(file.read_text()) == {"x": 0.333333, "n": [None, 2], "by": {"16": [0.123457]}}
        with pytest.raises(OutputError, match="exists already"):
            write_json(file, {})
        write_json(file, {}, force=True)
        assert json.loads(file.read_text()) == {}
