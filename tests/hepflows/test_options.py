from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from hepflows.commands.options import (
    EnergyRange,
    apply_threads,
    check_run_directory,
    parse_energy,
    parse_part,
    parse_selection,
    resolve_device,
)
from hepflows.errors import ConfigError, MissingDependencyError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


class TestOptions:
    @pytest.mark.parametrize(
        ("text", "low", "high"),
        [
            ("50GeV", 50, 50),
            ("1..100GeV", 1, 100),
            (" 1 .. 100 GeV ", 1, 100),
            ("500MeV..0.1TeV", 0.5, 100),
            ("1e3 mev", 1, 1),
            ("0.5..1.5tev", 500, 1500),
        ],
    )
    def test_energies(self, text: str, low: float, high: float) -> None:
        assert parse_energy(text) == EnergyRange(pytest.approx(low), pytest.approx(high))

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("50", "no unit"),
            ("1GeV..100", "no unit"),
            ("50 GeVs", "'GeVs' is not a unit"),
            ("1keV..3GeV", "'keV' is not a unit"),
            ("-5GeV", "not an energy"),
            ("GeV", "not an energy"),
            (".5GeV", "not an energy"),
            ("", "not an energy"),
            ("1.2.3GeV", "not an energy"),
            ("1...3GeV", "not an energy"),
            ("nanGeV", "not an energy"),
            ("0GeV", "not a positive"),
            ("100..1GeV", "not a positive"),
        ],
    )
    def test_wrong_energies(self, text: str, problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            parse_energy(text)

    def test_parts(self) -> None:
        assert parse_part("0.8:1") == (0.8, 1.0)
        for text in ("0.8", "a:b", "1:0.5", "-1:1", "0:2", "nan:1", "0.5:0.5"):
            with pytest.raises(ConfigError):
                parse_part(text)
        with pytest.raises(ConfigError, match="--target-part"):
            parse_part("1", option="--target-part")

    def test_devices(self, monkeypatch) -> None:
        assert resolve_device("cpu") == "cpu"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert resolve_device("auto") == "cpu"
        with pytest.raises(MissingDependencyError, match="use --device cpu"):
            resolve_device("cuda")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert resolve_device("auto") == "cuda"
        assert resolve_device("cuda:0") == "cuda:0"
        with pytest.raises(MissingDependencyError, match=r"1 CUDA device\(s\)"):
            resolve_device("cuda:1")

    def test_threads(self) -> None:
        before = torch.get_num_threads()
        apply_threads(None)
        assert torch.get_num_threads() == before
        try:
            apply_threads(1)
            assert torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(before)

    def test_run_directories(self, tmp_path: Path) -> None:
        check_run_directory(tmp_path / "new", resume=False, force=False)
        check_run_directory(tmp_path, resume=False, force=False)
        (tmp_path / "file").write_text("")
        check_run_directory(tmp_path, resume=True, force=False)
        check_run_directory(tmp_path, resume=False, force=True)
        with pytest.raises(OutputError):
            check_run_directory(tmp_path, resume=False, force=False)
        with pytest.raises(OutputError):
            check_run_directory(tmp_path / "file", resume=False, force=False)
        with pytest.raises(OutputError, match="nothing to resume"):
            check_run_directory(tmp_path / "new", resume=True, force=False)


def test_a_part_is_named_once() -> None:
    assert parse_selection("0.5:1", ["first=3"]) == {"part": (0.5, 1.0), "first": 3}
    with pytest.raises(ConfigError, match=r"--training-part 0\.8:1\.0"):
        parse_selection("0:1", ["part=[0.0,0.5]"], option="--training-part")
