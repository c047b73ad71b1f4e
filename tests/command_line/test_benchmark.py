"""`hepflows benchmark` of real generators, trained and exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hepflows.benchmarking import artefact
from hepflows.benchmarking.timing import Effort
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "QUICK", Effort(repeats=1, seconds=0.0, lap_s=0.0))


@pytest.mark.parametrize("name", ["run/teacher", "student.onnx"])
def test_figures(made: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "figures.json"
    startup = () if name.endswith("teacher") else ("--no-startup",)
    options = ("--batch", "1,3", "--quick", "--threads", "1", "--device", "cpu", "--json", str(file), *startup)
    assert main(["benchmark", str(made / name), *options]) == 0
    found = json.loads(file.read_text())
    assert found["task"] == "calofast"
    assert list(found["sampling"]) == ["1", "3"]
    if name.endswith("teacher"):
        assert found["kind"] == "teacher"
        assert list(found["log_prob"]) == ["1", "3"]
        assert {"import_s", "load_s", "first_call_s", "process_s"} <= found["startup"]["warm"].keys()
    else:
        assert found["log_prob"] is None


def test_refusals(made: Path, refused) -> None:
    student = made / "run" / "student"
    refused("benchmark", student, "--batch", "1;2", says=("--batch: not a list", "1,16,100,1000"))
    refused("benchmark", student, "--json", ".", says=("output exists already",))
    refused("benchmark", made / "run", says=("artefacts inside it: student, teacher",))
    refused("benchmark", "none.onnx", says=("none.onnx",))
