"""Productions of toys in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hepflows.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WANTED = ("--energy", "1..100GeV", "-n", 3000, "--seed", 7)


@pytest.fixture
def generate(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `hepflows generate` for 3000 toys in a directory of its own, and give the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(out: str, *arguments: object) -> int:
        return main([str(each) for each in ("generate", trained / "teacher", *WANTED, "--out", out, *arguments)])

    return run


@pytest.fixture
def whole(generate: Callable[..., int], tmp_path: Path) -> str:
    """The file that one process writes at once."""
    assert generate("whole.toy") == 0
    return (tmp_path / "whole.toy").read_text()


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., list[Any]]:
    """The events in the files of a manifest."""

    def read(directory: str = "prod") -> list[Any]:
        manifest = json.loads((tmp_path / directory / "manifest.json").read_text())
        return [
            row
            for shard in manifest["shards"]
            for row in json.loads((tmp_path / directory / shard["file"]).read_text())
        ]

    return read
