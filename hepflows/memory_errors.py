"""Errors that mean: memory is short. Those of Python, torch, CUDA libraries and ONNX Runtime share no class."""

from __future__ import annotations

from typing import Final

_WORDS: Final = ("out of memory", "can't allocate memory", "failed to allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory of the CPU or of a GPU is short."""
    named = (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    )  # torch's, without importing it
    return named or any(words in str(error).lower() for words in _WORDS)
