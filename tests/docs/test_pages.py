"""Pages hold together: headings that links name, the navigation, generated and quoted text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hepflows._version import __version__

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")) if "_build" not in page.parts)
LINK = re.compile(r"\]\(([^)\s]*)#([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)
PACKAGES = ("hepflows", "calofast", "jetgen", "exporters", "validation")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


def slugs(page: Path) -> set[str]:
    """Anchors that code hosts and the site give to headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_headings_that_links_name_exist(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file = (page.parent / target).resolve() if target else page
            assert anchor in slugs(file), f"{target}#{anchor}"


def test_every_page_stands_in_the_navigation_and_in_the_lists() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.MULTILINE | re.DOTALL)
    entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    pages = [page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if page.is_relative_to(DOCS)]
    assert sorted(entries) == sorted(page for page in pages if page != "index")
    for entry in entries:
        assert f"({entry}.md)" in index, "a reader on a code host sees the lists only"


def test_included_files_exist() -> None:
    found = [(page, target) for page in DOCS.rglob("*.md") for target in INCLUDE.findall(page.read_text("utf-8"))]
    assert len(found) >= 3
    for page, target in found:
        assert (page.parent / target).resolve().is_file(), f"{page}: {target}"


def test_the_command_reference_is_that_of_the_command_line() -> None:
    # in a process of its own, as usage lines follow from how the program was started
    checked = subprocess.run(
        [sys.executable, DOCS / "commands_page.py", "--check"], cwd=ROOT, env=environment(), check=False
    )
    assert checked.returncode == 0, "run python docs/commands_page.py"


def test_quoted_messages_are_those_of_the_code() -> None:
    text = (DOCS / "faq.md").read_text(encoding="utf-8")
    messages = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    assert len(messages) >= 15
    sources = [file.read_text(encoding="utf-8") for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    # a message may be written over two lines
    code = re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(sources))
    for message in messages:
        assert message in code, message


def test_the_citation_is_complete() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"version: {__version__}\n" in text
    assert f"license: {project['license']}\n" in text
    for key in ("cff-version", "message", "title", "authors"):
        assert re.search(rf"^{key}:", text, re.MULTILINE), key


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="Sphinx comes with the extra `docs`")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    # a process of its own: what Python warns of inside of Sphinx is no fault of the pages
    options = ("-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path / "site"))
    subprocess.run([sys.executable, "-m", "sphinx", *options], check=True, timeout=600)
    assert (tmp_path / "site" / "api" / "calofast.html").is_file()
