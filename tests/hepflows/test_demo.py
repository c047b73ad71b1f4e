"""The chain of the demonstration with a task, an exporter and a comparison that take no time."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from hepflows import registry
from hepflows.cli import main
from hepflows.demo import Steps, installed_steps, run_demo
from hepflows.demo_table import fitting_blocks, print_table
from hepflows.errors import ConfigError, OutputError
from hepflows.task import DemoAssets

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = 'task = "toy"\n[student]\nblocks = 1\n'


@dataclass
class FakeComparison:
    names: tuple[str, ...]
    n_reference: int
    passed: bool = True

    def write(self, directory: Path, *, force: bool = False) -> Path:
        (directory / "pictures").mkdir(parents=True)
        (directory / "pictures" / "a.png").write_bytes(b"")
        (directory / "report.html").write_text("<html>")
        (directory / "report.json").write_text("{}")
        return directory

    def to_json(self) -> Mapping[str, Any]:
        entry = {"value": 1.01, "error": 0.02, "floor": 0.999}
        metrics = {"e_tot_ratio_mean": entry, "auc_low": {**entry, "floor": None}}
        return {
            "schema": "hepflows-report/1",
            "domain": "toy",
            "passed": self.passed,
            "n_reference": self.n_reference,
            "n_generated": 200,
            "wall_seconds": 0.1,
            "samples": dict.fromkeys(self.names, metrics),
        }


@dataclass
class Recorded:
    """What the fakes were given."""

    compared: list[tuple[Any, Mapping[str, Any]]] = field(default_factory=list)
    passed: bool = True

    def compare(self, reference: Any, samples: Mapping[str, Any], domain: Any, *, reporter: Any) -> FakeComparison:
        self.compared.append((reference, samples))
        return FakeComparison(tuple(samples), len(reference), self.passed)

    def export(self, generator: Any, path: Path) -> None:
        assert generator.document["kind"] == "student"
        generator.save(path.with_suffix(".dir"))
        path.write_bytes(b"onnx")

    def run_exported(self, path: Path) -> Any:
        return registry.load(path.with_suffix(".dir"))


@pytest.fixture
def chain(installed, toy_file: Path) -> tuple[Steps, Recorded]:
    toy = type(registry.task("toy"))(
        DemoAssets(
            directory="calo",
            title="Toy showers",
            config_text=CONFIG,
            data_path=toy_file,
            test_selection={"part": (0.8, 1.0)},
            exported="student",
            reference="Geant4",
            metrics=("e_tot_ratio_mean", "auc_low", "auc_high"),
        )
    )
    recorded = Recorded()
    steps = Steps(tasks=(toy,), export=recorded.export, run_exported=recorded.run_exported, compare=recorded.compare)
    return steps, recorded


def test_the_whole_chain(chain, tmp_path: Path) -> None:
    steps, recorded = chain
    out, console = tmp_path / "demo", Console(file=io.StringIO(), width=120)
    assert run_demo(out, steps=steps, console=console) == 0

    ((reference, samples),) = recorded.compared
    assert list(samples) == ["teacher", "student", "onnx"]
    for sample in samples.values():  # sampled at the held-out energies
        assert sample.incident_energy_gev.tolist() == reference.incident_energy_gev.tolist()
        assert len(sample) == 200
    assert samples["onnx"].values.tolist() == samples["student"].values.tolist()

    summary = json.loads((out / "calo" / "summary.json").read_text())
    assert summary["schema"] == "hepflows-report/1"
    assert summary["samples"]["onnx"]["e_tot_ratio_mean"]["value"] == 1.01
    assert summary["wall_seconds"] > 0
    on_disk = {path.relative_to(out / "calo").as_posix() for path in (out / "calo").rglob("*") if path.is_file()}
    assert set(summary["files"]) == on_disk
    assert len(summary["files"]) == len(on_disk)
    assert on_disk >= {
        "config.toml", "run/teacher/generator.json", "run/student/weights.safetensors", "teacher.h5",
        "teacher.root", "student.h5", "student.root", "onnx.h5", "student.onnx", "report.html", "report.json",
        "pictures/a.png",
    }  # fmt: skip
    index = (out / "report.html").read_text()
    assert 'href="calo/report.html"' in index
    assert "Toy showers" in index

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("Geant4 floor", "teacher", "student", "onnx", "e_tot_ratio_mean", "0.999", "1.01 ± 0.02"):
        assert text in shown
    assert str(out / "report.html") in shown


def test_a_failed_gate_gives_1(chain, tmp_path: Path) -> None:
    steps, recorded = chain
    recorded.passed = False
    assert run_demo(tmp_path / "demo", steps=steps, console=Console(file=io.StringIO())) == 1


def test_force_replaces_only_what_a_demonstration_made(chain, tmp_path: Path) -> None:
    steps, _ = chain
    out = tmp_path / "demo"
    (out / "calo").mkdir(parents=True)
    (out / "calo" / "old.h5").write_text("")
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        run_demo(out, steps=steps)
    assert (out / "calo" / "old.h5").exists()
    run_demo(out, steps=steps, force=True, console=Console(file=io.StringIO()))
    assert not (out / "calo" / "old.h5").exists()
    assert (out / "mine.txt").read_text() == "mine"


def test_steps_come_from_entry_points(chain, installed, tmp_path: Path) -> None:
    steps, recorded = chain
    with pytest.raises(ConfigError, match="no exporter is called 'onnx'"):
        installed_steps()
    installed.entries.clear()
    installed.add("hepflows.tasks", "toy", steps.tasks[0])
    installed.add("hepflows.exporters", "onnx", recorded.export, target="toys:export")
    installed.add("hepflows.runtimes", "onnx", recorded.run_exported, target="toys:run")
    installed.add("hepflows.metrics", "compare", recorded.compare, target="toys:compare")
    assert main(["demo", "--out", str(tmp_path / "demo"), "--device", "cpu"]) == 0
    assert (tmp_path / "demo" / "calo" / "summary.json").is_file()


def test_one_demonstration_may_be_chosen(chain, tmp_path: Path) -> None:
    steps, _ = chain
    assert run_demo(tmp_path / "demo", only=["calo"], steps=steps, console=Console(file=io.StringIO())) == 0
    with pytest.raises(ConfigError, match="this demonstration") as caught:
        run_demo(tmp_path / "other", only=["jets"], steps=steps)
    assert caught.value.expected == "calo"
    assert not (tmp_path / "other").exists()


def test_without_demonstrations_there_is_nothing_to_do(chain, tmp_path: Path) -> None:
    steps, _ = chain
    none = Steps(tasks=(), export=steps.export, run_exported=steps.run_exported, compare=steps.compare)
    with pytest.raises(ConfigError, match="no installed task brings a demonstration"):
        run_demo(tmp_path / "demo", steps=none)


JETS = DemoAssets(
    directory="jets",
    title="Toy jets",
    config_text=CONFIG,
    data_path=Path("jets.h5"),
    test_selection={},
    exported="exact",
    reference="Pythia",
    metrics=("w1m", "w1p", "w1efp", "fpd", "frechet_tagger", "auc", "mass_relative_error_max"),
)
VARIANTS = ("vnf", "cnf_m", "cnf_mn", "ccnf_m", "ccnf_mn", "exact", "equivariant")


def shown(n_samples: int, width: int) -> str:
    """What a console so wide shows of samples whose numbers are as long as numbers get."""
    samples = {
        name: {
            metric: {"value": -1.2345e-05 * (1 + i + 10 * j), "error": 1.2e-05, "floor": 2.345e-05}
            for j, metric in enumerate(JETS.metrics)
        }
        for i, name in enumerate(VARIANTS[:n_samples])
    }
    console = Console(file=io.StringIO(), width=width)
    print_table({"samples": samples, "n_reference": 800}, JETS, console=console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for sample in samples.values():
        for entry in sample.values():
            assert f"{entry['value']:.4g} ± 1.2e-05" in text
    for name in (*VARIANTS[:n_samples], *JETS.metrics, "Pythia floor"):
        assert name in text
    assert text.count("2.345e-05") >= len(JETS.metrics)
    return text


@pytest.mark.parametrize("width", [80, 60, 250])
@pytest.mark.parametrize("n_samples", [1, 3, 7])
def test_the_table_fits_the_console(n_samples: int, width: int) -> None:
    assert max(map(len, shown(n_samples, width).splitlines())) <= width


def test_values_are_whole_on_the_narrowest_console() -> None:
    shown(7, 10)


def test_a_wide_table_is_cut_between_columns_or_turned() -> None:
    rows = [["metric", "first", "second"], ["mass", "1.25", "1.5"]]
    turned = [["metric", "mass"], ["first", "1.25"], ["second", "1.5"]]
    assert fitting_blocks(rows, 21) == [rows]
    assert fitting_blocks(rows, 20) == [turned]
    longer = [*rows, ["energy", "10.25", "10.5"], ["angle", "0.25", "0.5"], ["width", "0.1", "0.2"]]
    assert fitting_blocks(longer, 14) == [[[row[0], row[1]] for row in longer], [[row[0], row[2]] for row in longer]]
