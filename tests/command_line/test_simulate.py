"""`hepflows simulate` refuses what it cannot do with exit code 2, before it starts anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from calofast.truth_command import parse_physics
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"--geometry": "calogan", "--particle": "e+", "--energy": "1..5GeV", "-n": "10", "--seed": "1"}


def simulate(out: Path, changes: dict[str, str], *flags: str) -> int:
    options = [word for pair in ({**GOOD, "--out": str(out)} | changes).items() for word in pair]
    return main(["simulate", *options, *flags])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--geometry": "atlas"}, "calogan, siw45, pbar45"),
        ({"--particle": "foo"}, "not a particle"),
        ({"--energy": "1..5"}, "no unit"),
        ({"--energy": "1..5furlong"}, "not a unit"),
        ({"--energy": "0..5GeV"}, "--energy"),
        ({"--energy": "-5GeV"}, "--energy"),
        ({"-n": "0"}, "1 or more"),
        ({"-n": "1.5"}, "whole number"),
        ({"--seed": "-1"}, "--seed"),
        ({"--spectrum": "square"}, "log-uniform"),
        ({"--shard": "3/2"}, "not a share"),
        ({"--shard": "11/20"}, "no events"),
        ({"--processes": "0"}, "--processes"),
        ({"--cut-mm": "0"}, "--cut-mm"),
    ],
)
def test_bad_input(changes: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(tmp_path / "truth.h5", changes) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_not_replaced_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "truth.h5"
    out.write_text("precious")
    assert simulate(out, {}) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert simulate(tmp_path / "truth.csv", {}) == 2
    assert simulate(out / "below" / "truth.h5", {}) == 2


def test_absent_data_sets_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path / "nowhere"))
    assert simulate(tmp_path / "truth.h5", {}) == 2
    message = capsys.readouterr().err
    assert "calzone" in message  # not installed, or without data
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


def test_physics_lists_are_read() -> None:
    assert parse_physics(None, 0.7, "gamma").name == "option1"
    assert parse_physics(None, 0.7, "pi+").name == "standard+FTFP_BERT"
    found = parse_physics("option4+QGSP_BERT", 0.1, "e-")
    assert (found.em, found.hadronic, found.cut_mm) == ("option4", "QGSP_BERT", 0.1)
