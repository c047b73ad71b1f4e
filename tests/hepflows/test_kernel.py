"""Compiled functions where nothing can be kept on disk."""

from __future__ import annotations

from typing import Any

import numba
import pytest

from hepflows.kernel import kernel


def _twice(x: float) -> float:
    return 2 * x


def test_kernels_work_without_a_place_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def refusing(*arguments: Any, **options: Any) -> Any:
        if options.get("cache"):
            return lambda function: (_ for _ in ()).throw(
                RuntimeError(f"cannot cache function {function.__name__!r}: no locator available")
            )
        return njit(*arguments, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR"):
        twice = kernel(_twice)
    assert twice(2.0) == 4.0


def test_other_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_options: Any) -> Any:
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="no LLVM"):
        kernel(_twice)
