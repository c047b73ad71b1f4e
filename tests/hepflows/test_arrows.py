"""The arrows of the architecture: exporters | validation -> calofast | jetgen -> hepflows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_contract_of_pyproject_is_kept(tmp_path: Path) -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "arrows of the architecture KEPT" in result.stdout


def test_the_engine_names_no_other_package_in_its_code() -> None:
    # importlib and strings would get past the import linter: plug-ins are reached by entry points only
    for path in (ROOT / "hepflows").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert 'import_module("' not in line, f"{path}:{number}"
