"""Other libraries' flows beside ours: what a comparison needs of them, and copying weights into them.

A library is an optional import: one that is not installed is reported as such and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import torch

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.splines import identity_slope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    from benchmarks.architecture import Autoregressive, Coupling, Kind
    from hepflows.conditioner import ResidualMLP
    from hepflows.flow import ConditionalFlow
    from hepflows.made import MADE
    from hepflows.splines import SplineSettings

PEERS = ("nflows", "zuko", "normflows")


@dataclass(frozen=True, kw_only=True)
class PeerFlow:
    """One flow of another library.

    Attributes:
        module: its parameters.
        same_weights: whether it computes the same function as our flow.
        log_prob: (x, context) to log densities (N,).
        sample: (noise, context) to events (N, D), as the library does it.
        passes: (values, context, k) to (N, D): k of the D passes of the slow direction in the first block; None for
            flows that are fast both ways.
    """

    module: nn.Module
    same_weights: bool
    log_prob: Callable[[Tensor, Tensor | None], Tensor]
    sample: Callable[[Tensor, Tensor | None], Tensor]
    passes: Callable[[Tensor, Tensor | None, int], Tensor] | None = None


class Peer(Protocol):
    """A module ``peer_LIBRARY``."""

    DISTRIBUTION: str

    def autoregressive(self, ours: ConditionalFlow, shape: Autoregressive, kind: Kind) -> PeerFlow:
        """The library's flow of the same architecture, with our weights where they mean the same."""
        ...

    def coupling(self, ours: ConditionalFlow, shape: Coupling) -> PeerFlow:
        """The library's coupling flow of the same architecture."""
        ...

    def spline(self, settings: SplineSettings) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
        """The library's spline: (x, raw parameters (..., 3 K - 1), inverse) to y and log |dy/dx|."""
        ...


def load_peers(names: Iterable[str]) -> tuple[dict[str, Peer], dict[str, str]]:
    """Import what is installed.

    Returns:
        Peers by name; and why the others are missing, by name.
    """
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            missing[name] = f"not installed ({error})"
            continue
        peer: Any = import_module(f"benchmarks.peer_{name}")
        found[name] = peer
    return found, missing


def autoregressive_blocks(flow: ConditionalFlow) -> list[MaskedAutoregressive | InverseAutoregressive]:
    """Our blocks in the order of `flow.transforms`."""
    return [t for t in flow.transforms if isinstance(t, MaskedAutoregressive | InverseAutoregressive)]


@torch.no_grad()
def copy_made(made: MADE, theirs: Any, settings: SplineSettings) -> None:
    """Copy a masked network into nflows'.

    Args:
        made: ours, with sequential degrees and positive context weights.
        theirs: their masked network with feed-forward blocks.
        settings: shape of the splines; their raw derivatives have another origin.
    """
    theirs.initial_layer.weight.copy_(made.layers[0].weight)
    theirs.initial_layer.bias.copy_(made.layers[0].bias)
    for layer, block in zip(made.layers[1:], theirs.blocks, strict=True):
        block.linear.weight.copy_(layer.weight)
        block.linear.bias.copy_(layer.bias)
    if made.context is not None:
        theirs.context_layer.weight.copy_(made.context.weight)
        theirs.context_layer.bias.zero_()
    theirs.final_layer.weight.copy_(made.output.weight)
    theirs.final_layer.bias.copy_(_shifted(made.output.bias, settings))


@torch.no_grad()
def copy_conditioner(ours: ResidualMLP, theirs: Any, settings: SplineSettings) -> None:
    """Copy a residual network into nflows' (or normflows'), whose last layer is a pair of ReLU and linear map here.

    Their coupling divides raw widths and heights by the square root of the network's width, which is undone.
    """
    theirs.initial_layer.weight.copy_(ours.entry.weight)
    theirs.initial_layer.bias.copy_(ours.entry.bias)
    for mine, block in zip(ours.blocks, theirs.blocks, strict=True):
        for index, linear in zip((1, 4), block.linear_layers, strict=True):
            linear.weight.copy_(mine[index].weight)  # type: ignore[index]  # a Sequential
            linear.bias.copy_(mine[index].bias)  # type: ignore[index]
    scale = torch.ones(settings.n_parameters, 1)
    scale[: 2 * settings.bins] = ours.entry.out_features**0.5
    linear = theirs.final_layer[1]
    rows = (-1, settings.n_parameters)
    linear.weight.copy_((ours.exit.weight.unflatten(0, rows) * scale).flatten(0, 1))
    shifted = _shifted(ours.exit.bias, settings)
    linear.bias.copy_((shifted.unflatten(0, rows) * scale[:, 0]).flatten())


def _shifted(bias: Tensor, settings: SplineSettings) -> Tensor:
    """Our derivatives are 1 at raw value 0, theirs at `identity_slope`."""
    values = bias.unflatten(0, (-1, settings.n_parameters)).clone()
    values[:, 2 * settings.bins :] += identity_slope(settings)
    shifted: Tensor = values.flatten()
    return shifted
