"""Terms of neighbours: the same in every form, and none at the start."""

from __future__ import annotations

import pytest
import torch

from hepflows.artefact import load_state
from hepflows.errors import ArtefactError, ConfigError
from hepflows.local import LocalTerms


def test_all_forms_agree_with_the_sum(monkeypatch):
    torch.manual_seed(1)
    terms = LocalTerms(torch.randint(9, (5, 3)), 9, 4).double()
    inputs = torch.randn(7, 9, dtype=torch.float64)
    assert not terms(inputs).any()
    torch.nn.init.normal_(terms.weight)
    expected = torch.zeros(7, 5, 4, dtype=torch.float64)
    for d in range(5):
        for k in range(3):
            expected[:, d] += inputs[:, terms.index[d, k], None] * terms.weight[d, :, k]
    torch.testing.assert_close(terms(inputs), expected)
    monkeypatch.setattr("hepflows.local.is_exported", lambda: True)
    torch.testing.assert_close(terms(inputs), expected)


def test_neighbours_are_a_matrix():
    with pytest.raises(ConfigError, match="matrix"):
        LocalTerms(torch.arange(3), 3, 2)


@pytest.mark.parametrize("place", [-1, 9])
def test_an_index_that_points_elsewhere_is_refused_also_when_it_is_loaded(place):
    index = torch.tensor([[0, 8], [3, place]])
    with pytest.raises(ConfigError, match=f"from 0 to 8\n  found: {place}"):
        LocalTerms(index, 9, 2)
    terms = LocalTerms(index.clamp(0, 8), 9, 2)
    with pytest.raises(ArtefactError, match=r"(?s)runs/eplus.*none of the inputs"):
        load_state(terms, {**terms.state_dict(), "index": index}, where="runs/eplus")
