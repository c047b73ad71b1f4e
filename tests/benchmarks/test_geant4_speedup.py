"""The speed-up over Geant4, on figures and a generator that need no Geant4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from benchmarks.geant4_plot import plot_speedup
from benchmarks.geant4_speedup import ENERGY, speedups, time_generator
from benchmarks.options import Options
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Sleepless:
    """Looks like a generator valid for 1 to 60 GeV, and remembers its calls."""

    condition_names = (ENERGY,)
    document: ClassVar[dict[str, Any]] = {"valid_range": {ENERGY: [1.0, 60.0]}}

    def __init__(self) -> None:
        self.calls: list[tuple[int, float]] = []

    def draw_conditions(self, n: int, **_: object) -> dict[str, Any]:
        return {ENERGY: np.full(n, 3.0)}

    def sample(self, conditions: Any, *, n: int, seed: int) -> None:
        assert len(conditions[ENERGY]) == n
        self.calls.append((n, float(conditions[ENERGY][0])))


def options(*batches: int) -> Options:
    return Options(batches=batches, threads=1, quick=True, peers=(), seed=1, plot=None, json=None, more={})


def test_generators_are_timed_at_every_energy_that_they_know() -> None:
    generator: Any = Sleepless()
    found, left_out = time_generator(generator, (10, 50, 95), options(1, 7))
    assert set(found) == {"1", "7"}
    assert set(found["7"]) == {"10", "50"}
    assert found["7"]["10"]["ms"] > 0
    assert {call for call in generator.calls if call[0] == 7} == {(7, 10.0), (7, 50.0)}
    assert list(left_out) == [95]
    assert "60" in left_out[95]


def test_generators_of_jets_are_refused() -> None:
    generator: Any = Sleepless()
    generator.condition_names = ("mass_rel",)
    with pytest.raises(ConfigError, match="not a generator of showers"):
        time_generator(generator, (10,), options(1))


def test_speedup_is_a_ratio_of_processor_times(tmp_path: Path) -> None:
    geant4 = {"option1": {"10": {"cpu_ms": 40.0}, "50": {"cpu_ms": 200.0}}}
    generators = {"student": {"1": {"10": {"cpu_ms": 20.0, "ms": 99.0}}, "100": {"50": {"cpu_ms": 0.5, "ms": 99.0}}}}
    found = speedups(geant4, generators)
    assert found == {"option1": {"student": {"1": {"10": 2.0}, "100": {"50": 400.0}}}}
    results = {
        "geant4": geant4,
        "generators": generators,
        "speedup": found,
        "particle": "e+",
        "detector": "calogan",
    }
    plot_speedup(results, tmp_path / "speedup.png", subtitle="here")
    assert (tmp_path / "speedup.png").read_bytes().startswith(b"\x89PNG")
