"""Python in the documentation runs: blocks of the pages, one after the other, and examples in docstrings.

The README's block trains in earnest, for an hour; the quick start makes the same calls in a minute.
"""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]
PACKAGES = ("hepflows", "calofast", "jetgen", "exporters", "validation")
READER = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])
SLOW = {
    # pages that train, or that need a generator of all 504 voxels
    "quickstart",
    "jets",
    "artefact",
    "embedding",
    "morphing",
    "refinement",
    "sampling",
    "tutorials/embed",
    "tutorials/refine",
}
PAGES = [
    pytest.param(page, marks=[pytest.mark.slow] if name in SLOW else [], id=name)
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if "```python" in page.read_text(encoding="utf-8")
    for name in [page.relative_to(ROOT / "docs").with_suffix("").as_posix()]
]
MODULES = [
    ".".join(file.with_suffix("").relative_to(ROOT).parts).removesuffix(".__init__")
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]
GIVEN = {
    # names that a page takes for granted: a file of showers read before, energies to generate at
    # and a student that a classifier does not tell apart at once; a page that exports has no export before
    "embed.md": "import shutil; shutil.rmtree('eplus')",
    "refinement.md": """
import shutil
import calofast as cf
import numpy as np
from hepflows.models import models
shutil.rmtree("runs/eplus/student")
shutil.copytree(models()["eplus"].directory, "runs/eplus/student")
from hepflows.classifier import ClassifierConfig
showers = cf.read_showers("eplus.h5", first=300)
energies = np.linspace(10.0, 80.0, 50)
""",
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("default")  # trainings of one epoch have reason to warn
def test_python_blocks_run(page: Path, working_folder) -> None:
    document = READER.parse(page)
    exec(GIVEN.get(page.name, ""), document.namespace)  # noqa: S102 - our own text
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module: str, working_folder) -> None:
    # without the module's own `from __future__ import annotations`, as in a fresh interpreter
    result = doctest.testmod(importlib.import_module(module), extraglobs={"annotations": None})
    assert result.attempted
    assert not result.failed
