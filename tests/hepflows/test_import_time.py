"""What `import hepflows` and `hepflows --help` must not import; a list ages better than a stopwatch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "numba", "matplotlib", "uproot", "awkward", "h5py", "sklearn", "scipy", "onnx", "onnxruntime",
    "pandas", "hist", "mplhep",
)  # fmt: skip

HELP = """
import contextlib, io, sys
from hepflows.cli import main
with contextlib.redirect_stdout(io.StringIO()) as shown:
    code = main(["--help"])
assert code == 0, code
assert "validate" in shown.getvalue()
"""


@pytest.mark.parametrize(
    "code",
    [
        "import hepflows",
        "import calofast",
        "import exporters",
        "import validation",
        "import hepflows.cli",
        "from hepflows import registry; registry.tasks()",
        HELP,
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    check = f"import sys; heavy = sorted(sys.modules.keys() & {set(HEAVY)!r}); assert not heavy, heavy"
    result = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_import_hepflows_brings_only_itself() -> None:
    code = "import sys, hepflows; assert not sys.modules.keys() & {'numpy', 'pydantic', 'rich', 'cyclopts'}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_are_found() -> None:
    import hepflows

    for name in hepflows.__all__:
        assert getattr(hepflows, name) is not None
    assert set(hepflows.__all__) == {
        "Generator", "GeneratorDocument", "StrictConfig", "Task", "__version__", "load", "load_artefact",
        "load_config", "save_artefact",
    }  # fmt: skip
    assert dir(hepflows) == sorted(hepflows.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        hepflows.lod  # noqa: B018 - the access is the test
