from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hepflows", "calofast", "jetgen", "exporters", "validation")
MAX_WHEEL_BYTES = 10 * 2**20


def build(kind: str, out: Path) -> Path:
    pytest.importorskip("hatchling", reason="hatchling, of the extra `test`, builds the wheel")
    code = f"import sys; from hatchling.build import build_{kind}; print(build_{kind}(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return out / result.stdout.strip().splitlines()[-1]


def test_wheel_holds_the_packages_and_their_data_and_nothing_else(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
        assert f"{package}/__init__.py" in names
        shipped = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert shipped <= names, "data or templates are missing"
    # the tests of the C++ client belong to its CMake project
    ours = [name for name in names if not name.startswith("exporters/cpp/")]
    assert not [name for name in ours if name.endswith(".pyc") or "/tests/" in name]
    assert any(name.startswith("calofast/data/") and name.endswith((".h5", ".hdf5")) for name in names)
    assert "calofast/data/README.md" in names
    assert any(name.startswith("validation/templates/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    for group in ("console_scripts", "hepflows.commands", "hepflows.tasks", "hepflows.exporters"):
        assert f"[{group}]" in entry_points


def test_sdist_holds_what_the_tests_need(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in (
        "Makefile",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "tests/hepflows/conftest.py",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith((".venv", ".git/", "runs/"))]


def test_no_init_stands_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_constraints_pin_every_installed_requirement() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin and "+" not in pin for pin in pins), "exact pins without local versions"
    pinned = {pin.split("==")[0].strip().lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [r for name in ("onnx", "test") for r in project["optional-dependencies"][name]]
    for requirement in [*project["dependencies"], *extras]:
        name = requirement.partition(">=")[0].lower()
        assert name in pinned or name.startswith("hepflows"), name


def test_entry_points_can_be_loaded() -> None:
    for group in ("commands", "tasks", "exporters", "runtimes", "metrics"):
        found = [e for e in metadata.entry_points(group=f"hepflows.{group}") if e.dist and e.dist.name == "hepflows"]
        assert found, group
        for entry in found:
            assert entry.load() is not None
