"""Trained generators that come with this package, announced by the entry point group `hepflows.models`."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Directory of the models, each an artefact with card, configuration and report."""
    return Path(__file__).parent / "models"
