"""The tables of modules in docs/architecture.md name each module once, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "hepflows": "The engine",
    "calofast": "calofast",
    "jetgen": "jetgen",
    "validation": "validation",
    "exporters": "exporters",
}


def _section(title: str) -> str:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("package", SECTIONS)
def test_every_module_has_one_row(package: str) -> None:
    rows = (line.split("|")[1] for line in _section(SECTIONS[package]).splitlines() if line.startswith("| `"))
    named = Counter(name for row in rows for name in re.findall(r"`([a-z0-9_/]+)`", row))
    folder = ROOT / package
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    modules |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    assert set(named) == modules
    assert set(named.values()) == {1}
