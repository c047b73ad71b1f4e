"""Exporters: trained generators as self-contained ONNX files that simulation frameworks embed as they are.

`to_onnx` writes a file with its manifest, golden file and model card after checking it against torch;
`verify` checks such a file with nothing but numpy and onnxruntime; `OnnxGenerator` samples it without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporters.onnx import ExportResult, to_onnx
    from exporters.runtime import OnnxGenerator
    from exporters.verification import Verification, verify

__all__ = ["ExportResult", "OnnxGenerator", "Verification", "to_onnx", "verify"]

_HOME = {
    "ExportResult": "onnx",
    "OnnxGenerator": "runtime",
    "Verification": "verification",
    "to_onnx": "onnx",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that the runtime client never pays for torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"exporters.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
