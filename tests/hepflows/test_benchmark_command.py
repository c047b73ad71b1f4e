"""`hepflows benchmark` with the toy task: figures, tables, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hepflows import registry
from hepflows.benchmarking import artefact
from hepflows.benchmarking.artefact import benchmark_generator, conditions_inside, valid_ranges
from hepflows.benchmarking.timing import Effort
from hepflows.cli import main
from hepflows.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "QUICK", Effort(repeats=1, seconds=0.0, lap_s=0.0))


def run(*arguments: object) -> int:
    return main(["benchmark", *map(str, arguments)])


def test_figures_of_an_artefact(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    options = ("--quick", "--no-startup", "--threads", 1, "--device", "cpu")
    assert run(trained / "student", "--batch", "16,1,16", "--json", file, *options) == 0
    found = json.loads(file.read_text())
    assert found["schema"] == "hepflows-benchmark/1"
    assert (found["benchmark"], found["task"], found["kind"]) == ("artefact", "toy", "student")
    assert list(found["sampling"]) == ["1", "16"]
    entry = found["sampling"]["16"]
    assert entry["events_per_second"] == pytest.approx(1e3 / entry["ms"], rel=1e-4)
    assert found["log_prob"] is None
    assert found["startup"] is None
    assert found["settings"] == {"device": "cpu", "threads": 1, "quick": True, "seed": artefact.SEED}
    assert found["machine"]["torch_threads"] == 1
    shown = capsys.readouterr().out
    assert "sampling: toy student" in shown
    assert "events/s" in shown
    assert "log density" not in shown


def test_startup_is_asked_of_fresh_processes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def measure_startup(module: str, arguments: list[str], *, cold: bool) -> dict[str, dict[str, float]]:
        asked.append((module, arguments, cold))
        return {"warm": {"first_call_s": 1.25, "process_s": 3.5}}

    monkeypatch.setattr(artefact, "measure_startup", measure_startup)
    file = tmp_path / "figures.json"
    assert run(trained / "teacher", "--batch", 1, "--quick", "--threads", 1, "--device", "cpu", "--json", file) == 0
    expected = [str(trained / "teacher"), "--device", "cpu", "--threads", "1"]
    assert asked == [("hepflows.benchmarking.first_call", expected, False)]
    assert json.loads(file.read_text())["startup"]["warm"]["first_call_s"] == 1.25
    assert "warm start: first call 1.25 s, process 3.50 s" in capsys.readouterr().out


def test_a_density_is_timed_on_the_generators_own_events(trained: Path) -> None:
    plain = registry.load(trained / "student")
    seen: list[np.ndarray] = []

    class WithDensity(type(plain)):  # type: ignore[misc]
        def log_prob(self, events: Any) -> np.ndarray:
            seen.append(events.values)
            return -0.5 * events.values**2

    found = benchmark_generator(WithDensity(plain.document_, plain.state), (1, 4), quick=True).to_dict()
    assert list(found["log_prob"]) == ["1", "4"]
    assert {len(values) for values in seen} == {1, 4}
    assert all(np.isfinite(values).all() for values in seen)


def test_conditions_cover_the_trained_range(trained: Path) -> None:
    generator = registry.load(trained / "student")
    drawn = conditions_inside(generator, 4000)
    energy = drawn["incident_energy_gev"]
    assert len(drawn) == 1
    assert energy.dtype == np.float32
    assert 1.0 <= energy.min() < 1.2
    assert 99.8 < energy.max() <= 100.0
    generator.check_conditions(drawn)
    assert np.array_equal(conditions_inside(generator, 10)["incident_energy_gev"], energy[:10])


def test_several_conditions_are_drawn_by_name(trained: Path) -> None:
    generator = registry.load(trained / "student")
    ranges = {"incident_energy_gev": (1.0, 2.0), "theta_rad": (-0.5, 0.5)}
    document = generator.document_.model_copy(update={"valid_range": ranges})
    two = replace(generator, document_=document, condition_names=("incident_energy_gev", "theta_rad"))
    drawn = conditions_inside(two, 50)
    assert set(drawn) == {"incident_energy_gev", "theta_rad"}
    assert np.abs(drawn["theta_rad"]).max() <= 0.5
    assert abs(float(np.corrcoef(drawn["incident_energy_gev"], drawn["theta_rad"])[0, 1])) < 0.4
    with pytest.raises(ArtefactError, match="eta"):
        conditions_inside(replace(two, condition_names=("incident_energy_gev", "eta")), 1)


def test_ranges_of_artefacts_and_of_exported_files() -> None:
    expected = {"incident_energy_gev": (1.0, 100.0)}
    assert valid_ranges({"valid_range": {"incident_energy_gev": [1, 100]}}) == expected
    listed = [{"name": "incident_energy_gev", "unit": "GeV", "valid_range": [1, 100]}, {"name": "eta"}]
    assert valid_ranges({"conditions": listed}) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", "1,x"), "--batch: not a list of numbers of events"),
        (("--batch", "0"), "--batch: not a list of numbers of events"),
        (("--batch", ""), "--batch: not a list of numbers of events"),
        (("--batch", "1000001"), "found: 1000001"),
        (("--threads", "0"), "--threads: not a number of threads"),
        (("--device", "gpu"), "--device: not a device"),
        (("--json", "there.json"), "there.json: output exists already"),
        (("--quik",), "hepflows benchmark --help"),
    ],
)
def test_refusals(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("mine")
    assert run(trained / "student", *arguments) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert (tmp_path / "there.json").read_text() == "mine"


def test_no_batches_are_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match="no batches"):
        benchmark_generator(registry.load(trained / "student"), ())


def test_an_artefact_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nothing") == 2
    assert "artefact does not exist" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--help"]) == 0
    assert "Usage: hepflows benchmark" in capsys.readouterr().out
