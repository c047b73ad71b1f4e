"""What the documentation says is checked: links, configurations, defaults, test vectors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calofast.config import CaloFlowConfig, StudentConfig
from hepflows import registry
from hepflows.config import StrictConfig, load_config
from hepflows.manifold.config import ManifoldConfig
from hepflows.morphing.config import MorphingConfig
from hepflows.philox import normal_noise, random_words, uniform_noise
from hepflows.refine.config import RefineConfig
from jetgen.config import JetFlowConfig
from validation.gates import read_gates

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENERGY_STREAM = 0x45


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """Cells of all table rows with so many columns, heads and rules among them."""
    for line in text.splitlines():
        if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == columns:
            yield cells


def page_text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "http://", "#")):
            file = (page.parent / target.partition("#")[0]).resolve()
            assert file.exists(), target
            assert file.is_relative_to(ROOT), f"{target} leads out of the repository"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_toml_blocks_are_valid(page: Path, tmp_path: Path) -> None:
    for block in TOML.findall(page.read_text(encoding="utf-8")):
        check_toml(block, tmp_path / "block.toml")


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.toml")), ids=name)
def test_examples_load(file: Path, tmp_path: Path) -> None:
    check_toml(file.read_text(encoding="utf-8"), tmp_path / file.name)


def check_toml(text: str, file: Path) -> None:
    """A configuration, gates, or entry points for the pyproject.toml of a plug-in."""
    file.write_text(text, encoding="utf-8")
    content = tomllib.loads(text)
    if "task" in content:
        assert type(load_config(file)) is registry.task(content["task"]).config_type
    elif "gates" in content:
        assert read_gates(file)
    else:
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
        assert set(content["project"]["entry-points"]) <= set(groups)


# A student is absent by default; its keys are documented with those of an empty [student]
@pytest.mark.parametrize(
    "config", [CaloFlowConfig(student=StudentConfig()), JetFlowConfig()], ids=lambda config: str(config.task)
)
def test_documented_defaults_are_those_of_the_code(config: CaloFlowConfig | JetFlowConfig) -> None:
    _, _, after = page_text("docs/configuration.md").partition(f'\n## Keys of `task = "{config.task}"`\n')
    documented = {
        cells[0].strip("`"): None if cells[2] == "none" else tomllib.loads(f"v = {cells[2].strip('`')}")["v"]
        for cells in rows(after.partition("\n## ")[0], 4)
        if re.fullmatch(r"`[a-z_.*]+`", cells[0])
    }
    patterns = {key for key in documented if key.startswith("*.")}
    seen = set()
    for key, value in defaults(config):
        pattern = "*." + ".".join(key.split(".")[-2:])
        entry = pattern if pattern in patterns and key not in documented else key
        assert entry in documented, f"{key} is not documented"
        assert documented[entry] == value, key
        seen.add(entry)
    assert seen == set(documented), "keys are documented that do not exist"


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("refine", RefineConfig()),
        ("morph train", MorphingConfig()),
        ("manifold train", ManifoldConfig(dimensions=1)),
    ],
    ids=["refine", "morph", "manifold"],
)
def test_documented_defaults_of_commands_are_those_of_the_code(command: str, config: StrictConfig) -> None:
    _, _, after = page_text("docs/configuration.md").partition(f"\n## Keys of `hepflows {command}`\n")
    documented = {
        cells[0].strip("`"): tomllib.loads(f"v = {cells[1].strip('`')}")["v"]
        for cells in rows(after.partition("\n## ")[0], 3)
        if re.fullmatch(r"`[a-z_.]+`", cells[0]) and cells[1] != "none"
    }
    found = dict(defaults(config))
    found.pop("dimensions", None)  # has no default
    schedules = {key for key in found if re.search(r"training\.", key)} - documented.keys()
    assert documented == {key: value for key, value in found.items() if key not in schedules}


def defaults(config: StrictConfig, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Path and value of every key, tuples as lists."""
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, StrictConfig):
            yield from defaults(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def test_noise_vectors() -> None:
    count = 0
    for seed, event, element, word, uniform, normal, bits in rows(page_text("docs/noise.md"), 7):
        if seed.isdecimal():
            size = int(element) + 1
            assert f"`{random_words(int(seed), int(event), 1, size)[0, -1]:08x}`" == word
            assert uniform_noise(int(seed), int(event), 1, size)[0, -1] == float(uniform)
            drawn = normal_noise(int(seed), int(event), 1, size)[:, -1:]
            # another mathematics library may round the last place of the logarithm differently
            stated = np.array([[int(bits.strip("`"), 16)]], dtype=np.uint32).view(np.float32)
            np.testing.assert_array_max_ulp(drawn, stated, maxulp=1)
            np.testing.assert_allclose(drawn, float(normal), rtol=2e-7)
            count += 1
    assert count >= 10


def test_noise_vectors_of_the_energy_stream() -> None:
    count = 0
    for seed, event, element, word, uniform in rows(page_text("docs/noise.md"), 5):
        if seed.isdecimal():
            arguments = (int(seed), int(event), 1, int(element) + 1)
            assert f"`{random_words(*arguments, stream=ENERGY_STREAM)[0, -1]:08x}`" == word
            assert uniform_noise(*arguments, stream=ENERGY_STREAM)[0, -1] == float(uniform)
            count += 1
    assert count >= 2
