"""Settings of the whole suite."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

# Compilation and busy machines make single examples slow; how long a test takes is no result here.
settings.register_profile(
    "hepflows", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("hepflows")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run in several processes side by side."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_display() -> None:
    os.environ.setdefault("MPLBACKEND", "agg")
