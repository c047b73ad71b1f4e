"""Examples are scripts, not a package: tests import them by their file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def example() -> Callable[[str], Any]:
    """The module of examples/NAME.py."""

    def load(name: str) -> Any:
        key = f"hepflows_example_{name}"
        if key not in sys.modules:
            spec = importlib.util.spec_from_file_location(key, FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[key] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[key])
        return sys.modules[key]

    return load
