"""What `import jetgen` offers."""

from __future__ import annotations

import pytest

import jetgen


def test_public_names_are_found() -> None:
    for name in jetgen.__all__:
        assert getattr(jetgen, name) is not None
    assert dir(jetgen) == sorted(jetgen.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Jts'"):
        jetgen.Jts  # noqa: B018 - the access is the test


def test_the_data_layer_is_public() -> None:
    assert {
        "Jets", "describe_file", "embedded_jets_path", "four_momenta", "iterate_jets", "jet_masses", "mass_rel",
        "read_jets", "relative_constituents", "write_jets",
    } <= set(jetgen.__all__)  # fmt: skip
