"""Evaluating a sampler on test events: in torch, in either precision, and in ONNX Runtime."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from exporters.dependencies import run, session
from hepflows.errors import ConfigError
from hepflows.philox import normal_noise, uniform_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from exporters.exportable import Condition

_CHUNK: Final = 256  # bounds the memory of the splines' parameters
_CONDITION_STREAM: Final = 1  # the noise has stream 0, as in sampling
_STABILITY_MOVES: Final = 4
_STABILITY_STEP: Final = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Test inputs: cond (N, C), noise (N, Z), both float32."""

    cond: NDArray[np.float32]
    noise: NDArray[np.float32]

    def part(self, rows: slice | NDArray[np.int64]) -> Inputs:
        """Some of the events."""
        return Inputs(cond=self.cond[rows], noise=self.noise[rows])


def draw_inputs(conditions: Sequence[Condition], noise_dim: int, events: int, *, seed: int = 0) -> Inputs:
    """Conditions over the whole valid range, its two ends first, and standard normal noise."""
    share = uniform_noise(seed, 0, events, len(conditions), stream=_CONDITION_STREAM)
    share[:2] = np.array([[0.0], [1.0]])[: len(share)]
    columns = []
    for i, condition in enumerate(conditions):
        if condition.low > 0 and condition.high > 10 * condition.low:
            column = condition.low * (condition.high / condition.low) ** share[:, i]
        else:
            column = condition.low + (condition.high - condition.low) * share[:, i]
        columns.append(np.clip(column, condition.low, condition.high))
    cond = np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((events, 0), np.float32)
    return Inputs(cond=cond, noise=normal_noise(seed, 0, events, noise_dim))


def evaluate_torch(module: nn.Module, inputs: Inputs, *, double: bool, batch: int = _CHUNK) -> NDArray[np.float64]:
    """Output (N, D) of a torch module in float32 or float64, as float64; further outputs follow column by column."""
    dtype = torch.float64 if double else torch.float32
    module = copy.deepcopy(module).to(dtype)
    with torch.no_grad():
        parts = [
            _side_by_side(
                module(
                    torch.from_numpy(inputs.cond[start : start + batch]).to(dtype),
                    torch.from_numpy(inputs.noise[start : start + batch]).to(dtype),
                )
            ).double()
            for start in range(0, len(inputs.cond), batch)
        ]
    return torch.cat(parts).numpy()


def evaluate_runtime(model: bytes, inputs: Inputs, *, optimise: bool, batch: int = _CHUNK) -> NDArray[np.float64]:
    """Output (N, D) of an ONNX file in ONNX Runtime, as float64; further outputs follow column by column."""
    runtime = session(model, optimise=optimise)
    parts = [
        run(runtime, inputs.cond[start : start + batch], inputs.noise[start : start + batch])
        for start in range(0, len(inputs.cond), batch)
    ]
    return np.concatenate(parts).astype(np.float64)


def output_widths(module: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    """Width of each output of a torch module."""
    with torch.no_grad():
        found = module(torch.from_numpy(inputs.cond), torch.from_numpy(inputs.noise))
    return tuple(part.shape[1] for part in ((found,) if isinstance(found, torch.Tensor) else found))


def _side_by_side(found: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return found if isinstance(found, torch.Tensor) else torch.cat(found, dim=1)


def stable_events(final: nn.Module, inputs: Inputs, expected: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Events (N,) whose zeros stay where they are when the noise moves a thousand times float32's rounding.

    Raises:
        ConfigError: no event does, so that no host could be tested with them.
    """
    random = np.random.default_rng(0)
    stable = np.ones(len(expected), dtype=np.bool_)
    for _ in range(_STABILITY_MOVES):
        noise = inputs.noise + _STABILITY_STEP * random.standard_normal(inputs.noise.shape)
        moved = Inputs(cond=inputs.cond, noise=noise.astype(np.float32))
        x = evaluate_torch(final, moved, double=False)
        stable &= ((x == 0) == (expected == 0)).all(axis=1)
    if not stable.any():
        raise ConfigError(
            "no event of this generator is stable against rounding",
            found=f"all {len(stable)} events gain or lose hits when the noise moves by {_STABILITY_STEP:g}",
            remedy="check that the generator is trained",
        )
    return stable
