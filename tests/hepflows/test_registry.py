from __future__ import annotations

import base64
import hashlib
import importlib.util
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from hepflows import generic_names, registry
from hepflows.errors import ConfigError, DataError, HepflowsError
from hepflows.registry import PluginError
from hepflows.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    from hepflows.generator import AnyGenerator


def test_tasks_are_found_by_name(installed) -> None:
    assert isinstance(registry.task("toy"), Task)
    assert list(registry.tasks()) == ["toy"]


def test_unknown_name_suggests_the_nearest(installed) -> None:
    with pytest.raises(ConfigError, match=r"no task is called 'toi', did you mean toy\?"):
        registry.task("toi")
    with pytest.raises(ConfigError, match=r"no exporter is called 'onnx'\n  expected: an installed package"):
        registry.exporter("onnx")


def test_broken_plug_in_names_its_distribution(installed) -> None:
    installed.add("hepflows.tasks", "bad", ImportError("no libbad.so"), distribution="badpack")
    with pytest.raises(PluginError) as caught:
        registry.task("bad")
    text = str(caught.value)
    assert "hepflows.tasks of badpack 1.0" in text
    assert "ImportError: no libbad.so" in text
    assert registry.task("toy").name == "toy"


def test_duplicate_names_name_both_distributions(installed) -> None:
    installed.add("hepflows.tasks", "toy", object(), distribution="otherpack", target="other:TOY")
    with pytest.raises(PluginError, match=r"toys\.toy:TOY of toys 1\.0 and other:TOY of otherpack 1\.0"):
        registry.tasks()


def test_one_plug_in_seen_twice_is_no_duplicate(installed) -> None:
    installed.add("hepflows.tasks", "toy", registry.task("toy"))
    assert list(registry.plugins("hepflows.tasks")) == ["toy"]


def test_an_object_that_is_no_task_is_refused(installed) -> None:
    installed.add("hepflows.tasks", "odd", object(), distribution="oddpack")
    with pytest.raises(PluginError, match="oddpack"):
        registry.task("odd")
    installed.add("hepflows.tasks", "alias", registry.task("toy"))
    with pytest.raises(PluginError, match="name = 'toy'"):
        registry.task("alias")


def test_exporters_runtimes_metrics_and_commands(installed) -> None:
    for group, name in (
        ("exporters", "onnx"),
        ("runtimes", "onnx"),
        ("metrics", "compare"),
        ("commands", "export"),
    ):
        installed.add(f"hepflows.{group}", name, group.upper(), target=f"toys.{group}:{name}")
    assert registry.exporters() == {"onnx": "EXPORTERS"}
    assert registry.exporter("onnx") == "EXPORTERS"
    assert registry.runtime("onnx") == "RUNTIMES"
    assert registry.metric("compare") == "METRICS"
    assert registry.commands()["export"].distribution == "toys 1.0"


class TestTaskForFile:
    def test_the_task_that_knows_the_file(self, installed, toy_file: Path) -> None:
        assert registry.task_for_file(toy_file).name == "toy"

    def test_a_broken_task_does_not_hide_a_working_one(self, installed, toy_file: Path) -> None:
        installed.add("hepflows.tasks", "bad", ImportError("broken"))
        assert registry.task_for_file(toy_file).name == "toy"
        other = toy_file.with_suffix(".txt")
        other.write_text("")
        with pytest.raises(PluginError, match="broken"):
            registry.task_for_file(other)

    def test_unknown_format(self, installed, tmp_path: Path) -> None:
        path = tmp_path / "x.txt"
        path.write_text("")
        with pytest.raises(DataError, match="format of this file is not known"):
            registry.task_for_file(path)
        with pytest.raises(DataError, match="does not exist"):
            registry.task_for_file(tmp_path / "none")

    def test_two_takers(self, installed, toy_file: Path) -> None:
        twin = type(registry.task("toy"))()
        twin.name = "twin"
        installed.add("hepflows.tasks", "twin", twin)
        with pytest.raises(DataError, match="several tasks can read this file"):
            registry.task_for_file(toy_file)


class TestLoad:
    def test_artefact(self, installed, toy_file: Path, tmp_path: Path) -> None:
        task = registry.task("toy")
        config = task.config_type(task="toy")
        out = task.train(config, toy_file, tmp_path / "run", reporter=None, force=False, threads=1, device="cpu")
        generator: AnyGenerator = registry.load(out["teacher"])
        assert generator.task == "toy"
        assert generator.sample([10.0, 20.0], seed=1).incident_energy_gev.tolist() == [10.0, 20.0]

    def test_exported_file_goes_to_the_runtime_of_its_suffix(self, installed, tmp_path: Path) -> None:
        installed.add("hepflows.runtimes", "onnx", lambda path: f"ran {path.name}")
        path = tmp_path / "student.onnx"
        path.write_bytes(b"")
        assert registry.load(path) == "ran student.onnx"


class TestGenericNames:
    def test_our_own_packages_pass(self) -> None:
        assert generic_names.overwritten_packages() == ()

    def test_a_package_earlier_on_the_path_is_reported(self, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / "exporters").mkdir()
        (tmp_path / "exporters" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "exporters", raising=False)
        importlib.invalidate_caches()
        (problem,) = generic_names.overwritten_packages(("exporters",))
        assert "'exporters' that Python finds is not the one of hepflows" in str(problem)
        assert str(tmp_path / "exporters") in str(problem)

    def test_an_overwritten_file_names_the_other_distribution(self, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "validation" / "__init__.py"
        path.parent.mkdir()
        path.write_text("# not ours\n")
        original = base64.urlsafe_b64encode(hashlib.sha256(b"# ours\n").digest()).rstrip(b"=").decode()
        for name, digest in (("hepflows", original), ("intruder", "AAAA")):
            info = tmp_path / f"{name}-2.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
            (info / "RECORD").write_text(f"validation/__init__.py,sha256={digest},9\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(generic_names, "_foreign_place", lambda _: None)
        assert metadata.distribution("hepflows").version == "2.0"
        (problem,) = generic_names.overwritten_packages(("validation",))
        assert "'validation' of hepflows was overwritten" in str(problem)
        assert "intruder 2.0" in str(problem)
        path.write_text("# ours\n")
        assert generic_names.overwritten_packages(("validation",)) == ()


def test_plugin_errors_leave_with_exit_code_2() -> None:
    assert issubclass(PluginError, HepflowsError)
    assert PluginError("x").exit_code == 2
