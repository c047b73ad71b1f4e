from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from hepflows._version import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hepflows", "calofast", "jetgen", "exporters", "validation")
MAX_WHEEL_BYTES = 10 * 2**20 + 40 * 10**6  # the trained models have 40 MB for themselves


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
        "CITATION.cff",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/conf.py",
        "docs/images/tutorial-detector.png",
        "examples/tutorial_detector.py",
        "lowest.txt",
        "requirements-dev.lock",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith((".venv", ".git/", "runs/", "docs/_build"))]


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


IN_A_FRESH_ENVIRONMENT = """
import hepflows, sys
from importlib import metadata
import calofast as cf
assert hepflows.__file__.startswith(sys.prefix), hepflows.__file__
assert metadata.version("hepflows") == hepflows.__version__
print(len(cf.read_showers(cf.embedded_showers_path(), first=10)))
"""


def fresh_environment(tmp_path: Path, *, dependencies: bool) -> Path:
    """An interpreter with the wheel; its dependencies are those of this environment, or newly installed."""
    wheel = build("wheel", tmp_path)
    folder = tmp_path / "fresh"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    options = ["-c", str(ROOT / "constraints.txt"), f"{wheel}[onnx]"] if dependencies else ["--no-deps", str(wheel)]
    if not dependencies:
        site = next((folder / "lib").glob("python*")) / "site-packages"
        # appended to the path, after the wheel: an editable installation there is not followed
        (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    subprocess.run([*pip, *options], check=True, cwd=tmp_path)
    return python


@pytest.mark.parametrize("dependencies", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_wheel_works_in_a_fresh_environment(tmp_path: Path, dependencies: bool) -> None:
    python = fresh_environment(tmp_path, dependencies=dependencies)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = [str(python), "-c", IN_A_FRESH_ENVIRONMENT]
    shown = subprocess.run(run, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout) == (0, "10\n"), shown.stderr
    command = [str(python.with_name("hepflows")), "--version"]
    said = subprocess.run(command, env=clean, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == __version__


def requirements(*extras: str) -> dict[str, str]:
    """Lower bounds by normalised name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *(r for name in extras for r in project["optional-dependencies"][name])]
    pairs = [
        requirement.split(",")[0].partition(">=") for requirement in stated if not requirement.startswith("hepflows")
    ]
    return {name.lower().replace("_", "-"): bound for name, _, bound in pairs}


def pins(file: str) -> dict[str, str]:
    lines = [line.split(" ")[0] for line in (ROOT / file).read_text().splitlines() if "==" in line]
    return {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_lowest_versions_are_those_of_the_project() -> None:
    bounds, lowest = requirements("onnx", "parquet", "dask", "test"), pins("lowest.txt")
    of_others = {"pyparsing"}  # later ones warn of names that the lowest matplotlib uses
    assert set(lowest) - of_others == set(bounds)
    for name in set(bounds) - {"torch"}:
        assert Version(lowest[name]) == Version(bounds[name]), name
    assert lowest["torch"] == pins("constraints.txt")["torch"]


def test_the_lock_has_the_pins_of_the_constraints_and_hashes() -> None:
    locked, constraints = pins("requirements-dev.lock"), pins("constraints.txt")
    assert "torch" not in locked
    assert set(requirements("onnx", "parquet", "dask", "test", "docs", "dev")) - {"torch"} <= set(locked)
    assert {name: version for name, version in locked.items() if constraints.get(name, version) != version} == {}
    text = (ROOT / "requirements-dev.lock").read_text()
    entries = re.split(r"\n(?=\S+==)", text)[1:]
    assert len(entries) == len(locked)
    assert all("--hash=sha256:" in entry for entry in entries)
