"""`hepflows export`: exit codes and what is printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exporters.command import export
from hepflows import registry
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from exporters import ExportResult


def test_export_writes_and_reports(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "load", lambda _: toy)
    assert export(tmp_path / "student", out=tmp_path / "out" / "toy.onnx") == 0
    printed = capsys.readouterr().out
    for name in ("toy.onnx", "toy.manifest.json", "toy.golden.bin", "MODEL_CARD.md", "allowed"):
        assert name in printed


def test_verify_prints_the_tolerance_report(exported: ExportResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(verify=exported.model, as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert set(report["runs"]) == {"on", "off"}
    assert export(verify=exported.model) == 0
    assert "as exported" in capsys.readouterr().out


def test_a_file_outside_the_tolerance_gives_exit_code_1(
    exported: ExportResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters import verification
    from exporters.golden import agreement

    monkeypatch.setattr(
        verification, "agreement", lambda x, expected, **options: agreement(x * 1.001, expected, **options)
    )
    assert export(verify=exported.model) == 1
    assert "OUTSIDE THE TOLERANCE" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{}, {"out": "x.onnx"}, {"verify": "x.onnx", "out": "y.onnx"}])
def test_incomplete_commands_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="export"):
        export(**options)
