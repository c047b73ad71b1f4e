"""Masked weights without what the mask sets to zero."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hepflows.made import MADE
from hepflows.masked_storage import with_masked, without_masked


@given(features=st.integers(2, 9), hidden=st.lists(st.integers(1, 12), min_size=1, max_size=3), context=st.booleans())
def test_what_is_in_force_survives_and_takes_no_more_room_than_it_needs(features, hidden, context):
    network = MADE(features, 2 if context else 0, hidden, 3)
    state = network.state_dict()
    small = without_masked(network, state)
    assert small.keys() == state.keys()
    again = with_masked(network, small)
    for name, layer in network.named_modules():
        if hasattr(layer, "masked_weight"):
            weight = f"{name}.weight"
            assert small[weight].numel() == int(layer.mask.sum())
            assert torch.equal(again[weight], layer.masked_weight())
            state.pop(weight)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_whole_weights_and_wrong_lengths_are_left_for_the_check_of_shapes():
    network = MADE(4, 0, [5], 2)
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in with_masked(network, state).items())
    wrong = {**state, "output.weight": torch.zeros(3)}
    assert with_masked(network, wrong)["output.weight"].shape == (3,)
    assert with_masked(network, {}) == {}
