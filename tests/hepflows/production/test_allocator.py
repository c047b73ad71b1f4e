"""Workers keep freed memory: fewer page faults for arrays that are allocated again and again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from hepflows.production.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from hepflows.production.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2**20)  # 8 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_arrays_are_not_mapped_anew() -> None:
    def faults(how: str) -> int:
        environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as Dask's workers have it
        words = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 0.1 * faults("leave")


def test_it_may_be_asked_for_again() -> None:
    assert keep_freed_memory() == keep_freed_memory()


def test_other_systems_have_no_such_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    keep_freed_memory.cache_clear()
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
