"""The demonstration as a user runs it: minutes, so that it is only run on request (`make test-slow`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import calofast as cf
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_whole_chain(tmp_path: Path) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), "--threads", "2"]) == 0
    folder = tmp_path / "demo" / "calo"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema"] == "hepflows-report/1"
    assert set(summary["samples"]) == {"teacher", "student", "onnx"}
    assert all((folder / name).is_file() for name in summary["files"])
    for sample in summary["samples"].values():
        assert sample["e_tot_ratio_mean"]["value"] == pytest.approx(1.0, abs=0.01)
        assert sample["e_tot_ratio_std"]["value"] == pytest.approx(1.0, abs=0.5)
        assert 0.3 < sample["auc_low"]["value"] < 0.9
        assert 0 < sample["separation_mean"]["value"] < 0.1
    showers = cf.read_showers(folder / "teacher.h5")
    assert len(showers) >= 500
    np.testing.assert_array_equal(showers.voxels_mev, cf.read_showers(folder / "teacher.root").voxels_mev)
