"""Weights of masked layers without the entries that the mask sets to zero, about half of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepflows.made import MaskedLinear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


def without_masked(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with each masked layer's weight (out, in) as the list of entries in force, row by row."""
    kept = {name: state[name][mask] for name, mask in _masks(module) if state[name].ndim == 2}
    return {**state, **kept}


def with_masked(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `without_masked`, the entries left out being zero; whole weights and lists of a wrong length stay."""
    whole = dict(state)
    for name, mask in _masks(module):
        listed = state.get(name)
        if listed is not None and listed.shape == (int(mask.sum()),):
            whole[name] = listed.new_zeros(mask.shape)
            whole[name][mask] = listed
    return whole


def _masks(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, part in module.named_modules():
        if isinstance(part, MaskedLinear):
            yield f"{name}.weight", part.mask.bool()
