"""The golden file: its layout to the byte, and what a damaged one says."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exporters.golden import Golden, agreement, choose_rows, disagreements, read_golden, write_golden
from exporters.tolerance import Quantiles
from hepflows.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def golden() -> Golden:
    return Golden(
        cond=np.array([[1.5], [2.5]]),
        noise=np.arange(6.0).reshape(2, 3),
        expected=np.array([[10.0, 20.0], [30.0, 40.0]]),
    )


def test_layout_is_the_documented_one(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "x.golden.bin"
    write_golden(path, golden)
    data = path.read_bytes()
    assert len(data[:8]) == 8
    assert struct.unpack_from("<4q", data, 8) == (2, 1, 3, 2)
    assert struct.unpack_from("<12d", data, 40) == (1.5, 2.5, 0, 1, 2, 3, 4, 5, 10, 20, 30, 40)
    assert len(data) == 40 + 12 * 8


def test_round_trip(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "x.golden.bin"
    write_golden(path, golden)
    found = read_golden(path)
    for name in ("cond", "noise", "expected"):
        np.testing.assert_array_equal(getattr(found, name), getattr(golden, name))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"\0", "truncated"),
        (lambda data: data[:20], "not a golden file"),
        (lambda data: b"X" + data[1:], "not a golden file"),
        (lambda data: data[:8] + struct.pack("<q", -2) + data[16:], "truncated"),
    ],
)
def test_damaged_files_are_named(golden: Golden, tmp_path: Path, damage, word: str) -> None:
    path = tmp_path / "x.golden.bin"
    write_golden(path, golden)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtefactError, match=word) as caught:
        read_golden(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_golden(tmp_path / "no.golden.bin")


def test_flips_are_counted_and_never_excused_in_golden_events() -> None:
    bound = Quantiles(median=0.1, p999=0.1, maximum=0.1)
    expected = np.array([[0.0, 5.0], [1.0, 2.0]])
    found = agreement(np.array([[0.55, 4.0], [1.0, 2.05]]), expected)
    assert found.flips == 1
    assert found.differences.maximum == pytest.approx(0.05)  # the event with the flip is left out
    assert disagreements(found, bound) == ["1 values are zero on one side only"]
    assert disagreements(agreement(expected + 0.05 * (expected > 0), expected), bound) == []
    assert disagreements(agreement(expected + 0.5 * (expected > 0), expected), bound)


def test_if_every_event_flips_nothing_agrees() -> None:
    found = agreement(np.zeros((2, 2)), np.ones((2, 2)))
    assert found.differences.maximum == np.inf


def test_chosen_events_are_stable_and_spread_over_the_energy() -> None:
    rng = np.random.default_rng(1)
    cond = rng.uniform(1, 100, (400, 1)).astype(np.float32)
    stable = rng.uniform(size=400) < 0.5
    rows = choose_rows(cond, stable, 20)
    assert len(set(rows)) == 20
    assert stable[rows].all()
    assert cond[rows, 0].min() < 10
    assert cond[rows, 0].max() > 90
    assert choose_rows(cond, np.arange(400) == 7, 20).tolist() == [7]
