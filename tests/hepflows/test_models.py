"""Models that installed packages bring: found by name, listed, sampled from, and refused when ambiguous."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hepflows.cli import main
from hepflows.errors import ConfigError
from hepflows.models import model_directory, models
from hepflows.registry import PluginError


@pytest.fixture
def collection(installed: Any, trained: Path, tmp_path: Path) -> Path:
    """Two models, announced by a package."""
    folder = tmp_path / "collection"
    shutil.copytree(trained / "teacher", folder / "slow")
    shutil.copytree(trained / "student", folder / "fast")
    (folder / "notes").mkdir()
    installed.add("hepflows.models", "toys", lambda: folder)
    return folder


def test_models_are_found_by_name(collection: Path) -> None:
    assert {name: model.directory for name, model in models().items()} == {
        "fast": collection / "fast",
        "slow": collection / "slow",
    }
    assert models()["fast"].distribution == "toys 1.0"
    assert model_directory("fast") == collection / "fast"


def test_an_unknown_model_names_the_nearest(collection: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no model is called 'fst', did you mean fast\?\n  expected: one of fast, slow"
    ):
        model_directory("fst")


@pytest.mark.usefixtures("installed")
def test_without_models_the_message_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="an installed package that brings models"):
        model_directory("fast")
    assert main(["models"]) == 0
    assert "no installed package brings trained generators" in capsys.readouterr().out


def test_two_models_of_one_name_name_both_packages(collection: Path, installed: Any, tmp_path: Path) -> None:
    shutil.copytree(collection / "fast", tmp_path / "others" / "fast")
    installed.add("hepflows.models", "others", lambda: tmp_path / "others", distribution="otherpack")
    with pytest.raises(PluginError, match=r"of otherpack 1\.0 and .* of toys 1\.0"):
        models()


@pytest.mark.usefixtures("collection")
def test_the_list_tells_what_a_model_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert "toy student" in table
    assert "incident_energy_gev 1 to 100" in table
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == ["fast", "slow"]
    assert listed[0]["n_bytes"] == Path(listed[0]["directory"], "weights.safetensors").stat().st_size


def test_a_model_needs_nothing_but_a_number_of_events(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "--model", "fast", "-n", "300", "--out", "a.toy"]) == 0
    arguments = ["--energy", "1..100GeV", "-n", "300", "--seed", "1", "--out", "b.toy"]
    assert main(["generate", str(collection / "fast"), *arguments]) == 0
    assert (tmp_path / "a.toy").read_bytes() == (tmp_path / "b.toy").read_bytes()


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "3"], "one generator is needed"),
        (["some/where", "--model", "fast", "-n", "3"], "found: some/where and --model fast"),
        (["some/where", "-n", "3", "--seed", "1"], "the seed or the file to write is missing"),
        (["some/where", "-n", "3", "--out", "x.toy"], "the seed or the file to write is missing"),
        (["--model", "slw", "-n", "3"], "did you mean slow?"),
        (["--model", "fast"], "how many events"),
    ],
)
def test_impossible_requests_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
