"""A few mutated files of every format: each is accepted or refused with a clear error, never with a traceback."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.fuzz.__main__ import FuzzError, fuzz, in_rounds, require_accepted, shares
from benchmarks.fuzz.cases import make_case
from benchmarks.fuzz.report import Tally
from benchmarks.fuzz.specimens import Specimen, make_specimens
from hepflows.confined import Answer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Specimen]:
    return make_specimens(tmp_path_factory.mktemp("specimens"), trained=False)


@pytest.mark.parametrize("name", ["showers.h5", "hits.root", "binning.xml", "calo.toml"])
def test_no_traceback_of_our_own(specimens: dict[str, Specimen], name: str, tmp_path: Path) -> None:
    tally = Tally()
    fuzz(specimens[name], range(12), seed=7, folder=tmp_path, tally=tally)
    assert tally.counts[name].total() == 12
    assert tally.findings == []
    assert tally.counts[name]["refused"] > 0
    assert not list(tmp_path.iterdir())


def test_valid_files_are_accepted(specimens: dict[str, Specimen]) -> None:
    from benchmarks.fuzz.reading import read

    for specimen in specimens.values():
        assert read({"name": specimen.name, "family": specimen.family, "path": str(specimen.path)}) == "accepted"


@pytest.mark.parametrize("name", ["jets.parquet", "cells.root", "jetnet.hdf5"])
def test_valid_files_are_accepted_under_the_limits(specimens: dict[str, Specimen], name: str) -> None:
    require_accepted(specimens[name])


def test_a_run_on_files_that_are_refused_anyway_is_no_run(specimens: dict[str, Specimen], tmp_path: Path) -> None:
    broken = tmp_path / "calogan.h5"
    broken.write_bytes(b"not HDF5")
    require_accepted(specimens["calogan.h5"])
    with pytest.raises(FuzzError, match="a valid file is refused"):
        require_accepted(replace(specimens["calogan.h5"], path=broken))


def test_a_case_follows_from_seed_and_number(specimens: dict[str, Specimen], tmp_path: Path) -> None:
    for name in ("calogan.h5", "cells.root", "jets.toml"):
        paths = [make_case(specimens[name], seed=1, number=5, folder=tmp_path / f"{name}{i}")[0] for i in range(2)]
        other, _ = make_case(specimens[name], seed=1, number=6, folder=tmp_path / f"{name}other")
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert paths[0].read_bytes() != other.read_bytes()


def test_shares_and_rounds(specimens: dict[str, Specimen]) -> None:
    chosen = list(specimens.values())
    numbers = shares(chosen, 1000)
    assert sum(len(cases) for cases in numbers.values()) >= 1000
    seen: dict[str, list[int]] = {}
    for specimen, part in in_rounds(chosen, numbers):
        seen.setdefault(specimen.name, []).extend(part)
    assert seen == {name: list(cases) for name, cases in numbers.items()}


def test_the_report_counts_what_stands_out() -> None:
    tally = Tally()
    for number, kind in enumerate(("value", "refused", "crash", "fault")):
        tally.add("a.h5", number, "flips", Answer(kind=kind, text=kind))  # type: ignore[arg-type]
    assert tally.n_faults == 1
    assert [finding.number for finding in tally.findings] == [2, 3]
    assert "| a.h5 | 4 | 1 | 1 | 0 | 1 | 0 | 1 |" in tally.table()
