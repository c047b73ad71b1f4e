"""Benchmarks run once and briefly: what they compute is tested, not how long it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import arithmetic, options
from hepflows.benchmarking.timing import Effort

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ONCE = Effort(repeats=1, seconds=0.0, patience_s=1e3, lap_s=0.0)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a benchmark's main with --quick and give what it wrote."""
    monkeypatch.setattr(options, "QUICK", ONCE)
    monkeypatch.setattr(arithmetic, "QUICK", ONCE)

    def run(main: Callable[[Sequence[str]], int], *arguments: object) -> dict[str, Any]:
        file = tmp_path / "figures.json"
        assert main(["--quick", "--json", str(file), *map(str, arguments)]) == 0
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    return run
