from __future__ import annotations

import json
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hepflows import registry
from hepflows.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestGenerate:
    def generate(self, run_directory: Path, out: Path, *arguments: object) -> list[list[float]]:
        tokens = ["generate", run_directory / "teacher", "--seed", 7, "--out", out, *arguments]
        assert main([str(token) for token in tokens]) == 0
        rows: list[list[float]] = json.loads(out.read_text())
        return rows

    def test_energies_cover_the_range_uniformly(self, trained: Path, tmp_path: Path) -> None:
        rows = self.generate(trained, tmp_path / "a.toy", "--energy", "10..30GeV", "-n", 4000)
        energies = sorted(energy for energy, _ in rows)
        assert 10 <= energies[0] < 10.05
        assert 29.95 < energies[-1] <= 30
        largest_gap_to_uniform = max(abs((e - 10) / 20 - i / 4000) for i, e in enumerate(energies))
        assert largest_gap_to_uniform < 1.63 / 4000**0.5  # Kolmogorov-Smirnov, 1 %

    def test_fixed_energy_and_units(self, trained: Path, tmp_path: Path) -> None:
        rows = self.generate(trained, tmp_path / "a.toy", "--energy", "50000MeV", "-n", 3)
        assert [energy for energy, _ in rows] == [50.0, 50.0, 50.0]

    def test_shards_and_batches_give_the_events_of_one_run(self, trained: Path, tmp_path: Path) -> None:
        wanted = ("--energy", "1..100GeV", "-n", 1500)
        whole = self.generate(trained, tmp_path / "a.toy", *wanted)
        parts = [
            row
            for k in (1, 2, 3)
            for row in self.generate(trained, tmp_path / f"{k}.toy", *wanted, "--shard", f"{k}/3", "--batch", 300)
        ]
        assert parts == whole

    def test_like_takes_conditions_in_order(self, trained: Path, toy_file: Path, tmp_path: Path) -> None:
        reference = json.loads(toy_file.read_text())
        rows = self.generate(trained, tmp_path / "a.toy", "--like", toy_file, "--part", "0.8:1.0")
        assert [energy for energy, _ in rows] == [energy for energy, _ in reference[800:]]
        rows = self.generate(trained, tmp_path / "b.toy", "--like", toy_file, "-n", 10)
        assert [energy for energy, _ in rows] == [energy for energy, _ in reference[:10]]

    def test_files_larger_than_memory_are_read_in_chunks(
        self, trained: Path, installed, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = registry.task("toy")
        wanted = ("--like", toy_file, "-n", 700)
        expected = self.generate(trained, tmp_path / "a.toy", *wanted)
        whole = task.read(toy_file)
        given: list[int] = []

        def iterate(path: Path, **selection: object) -> Iterator[object]:
            for start in range(0, 1000, 300):
                given.append(start)
                part = slice(start, start + 300)
                yield replace(whole, incident_energy_gev=whole.incident_energy_gev[part], values=whole.values[part])

        monkeypatch.setattr(task, "iterate", iterate, raising=False)
        monkeypatch.setattr(task, "read", None)
        assert self.generate(trained, tmp_path / "b.toy", *wanted) == expected
        assert given == [0, 300, 600], "reading goes on until there are enough events"
        tokens = ["generate", trained / "teacher", "--seed", 1, "--out", tmp_path / "c.toy", "--like", toy_file]
        assert main([*map(str, tokens), "-n", "1001"]) == 2

    def test_events_are_written_and_let_go_batch_by_batch(
        self, trained: Path, installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task, most = registry.task("toy"), 0
        seen: list[weakref.ref[object]] = []

        def write(batches: Iterator[object], path: Path, *, force: bool) -> Path:
            nonlocal most
            for batch in batches:
                seen.append(weakref.ref(batch.values))
                most = max(most, sum(reference() is not None for reference in seen))
            return path

        monkeypatch.setattr(task, "write", write)
        tokens = ["generate", trained / "teacher", "--seed", 1, "--out", tmp_path / "x.toy", "--energy", "1..9GeV"]
        assert main([*map(str, tokens), "-n", "5000", "--batch", "256"]) == 0
        assert len(seen) == 20
        assert most <= 2, "the batch that is written and the one before"

    def test_exported_files_are_run_by_the_runtime(self, trained: Path, installed, tmp_path: Path) -> None:
        model = tmp_path / "student.onnx"
        model.write_bytes(b"")
        wanted = ("--energy", "1..100GeV", "-n", 5)
        rows = self.generate(trained, tmp_path / "a.toy", *wanted)
        installed.add("hepflows.runtimes", "onnx", lambda _: registry.load(trained / "teacher"))
        assert main(["generate", str(model), "--seed", "7", "--out", str(tmp_path / "b.toy"), *map(str, wanted)]) == 0
        assert json.loads((tmp_path / "b.toy").read_text()) == rows
        assert main(["inspect", str(model)]) == 0

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ([], "how many events, and under which conditions?"),
            (["--energy", "1GeV", "--like", "x", "-n", "1"], "--like gives the conditions already"),
            (["--condition", "energy", "-n", "1"], "--condition: not a condition"),
            (["--condition", "e=2..1", "-n", "1"], "--condition: not a rising range"),
            (["--condition", "e=1", "--condition", "e=2", "-n", "1"], "given twice"),
            (["--condition", "e=1", "-n", "1"], "every condition needs a range"),
            (["-n", "1"], "every condition needs a range"),
            (["--energy", "1GeV"], "-n: the number of events is missing"),
            (["--energy", "1GeV", "-n", "0"], "-n: not a number of events"),
            (["--energy", "50", "-n", "1"], "the energy has no unit"),
            (["--energy", "500GeV", "-n", "1"], "outside the trained range"),
            (["--energy", "1GeV", "-n", "1", "--shard", "0/3"], "not a share"),
            (["--energy", "1GeV", "-n", "1", "--shard", "1/2"], "this share has no events"),
            (["--energy", "1GeV", "-n", "1", "--batch", "0"], "--batch: not a number"),
            (["--like", "none.toy"], "none.toy: file of --like does not exist"),
            (["--like", "none.toy", "--part", "1:0"], "--part: not a part of a file"),
            (["--energy", "1GeV", "-n", "1", "--part", "0:0.5"], "--part and --read say how the file of --like"),
            (["--energy", "1GeV", "-n", "1", "--read", "first=3"], "--part and --read say how the file of --like"),
        ],
    )
    def test_refusals_leave_nothing(self, trained: Path, tmp_path: Path, capsys, arguments, text: str) -> None:
        out = tmp_path / "out" / "x.toy"
        assert main(["generate", str(trained / "teacher"), "--seed", "1", "--out", str(out), *arguments]) == 2
        assert text in capsys.readouterr().err
        assert not out.parent.exists() or not list(out.parent.iterdir())

    def test_like_with_too_few_events(self, trained: Path, toy_file: Path, tmp_path: Path, capsys) -> None:
        tokens = [
            "generate",
            trained / "teacher",
            "--seed",
            1,
            "--out",
            tmp_path / "x.toy",
            "--like",
            toy_file,
        ]
        assert main([*map(str, tokens), "-n", "1001"]) == 2
        assert "not enough events" in capsys.readouterr().err

    def test_existing_output_is_kept_without_force(self, trained: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "x.toy"
        out.write_text("mine")
        tokens = [
            "generate",
            str(trained / "teacher"),
            "--seed",
            "1",
            "--out",
            str(out),
            "--energy",
            "9GeV",
            "-n",
            "1",
        ]
        assert main(tokens) == 2
        assert "--force" in capsys.readouterr().err
        assert out.read_text() == "mine"
        assert main([*tokens, "--force"]) == 0

    def test_out_of_range_on_request(self, trained: Path, tmp_path: Path) -> None:
        rows = self.generate(trained, tmp_path / "x.toy", "--energy", "500GeV", "-n", 2, "--out-of-range", "pass")
        assert len(rows) == 2
