"""A plug-in for hepflows: the command `profile` and the metric `depth_shift` (docs/plug-in.md)."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

import numpy as np
from cyclopts import Parameter

import calofast as cf
from hepflows.errors import ConfigError
from validation import Estimate, Judgement, Part, PluggedMetric


def profile(
    file: Path,
    /,
    *,
    first: Annotated[int, Parameter(help="How many showers are read.")] = 1000,
) -> None:
    """Print the mean energy of each layer.

    Parameters
    ----------
    file
        HDF5 or ROOT file of showers.
    """
    if first < 1:
        raise ConfigError("not a number of showers", where="--first", expected="1 or more", found=first)
    showers = cf.read_showers(file, first=first)
    for layer, energy in zip(showers.geometry.layers, showers.layer_energies_mev.mean(axis=0), strict=True):
        print(f"{layer.name:12} {energy:10.1f} MeV")


def mean_depth(generated: Part, reference: Part, *, replicas: int, seed: int) -> dict[str, Estimate]:
    """Difference of the mean depths, with its statistical error."""
    del replicas, seed  # the error is known without resampling
    g, r = generated.values("depth"), reference.values("depth")
    error = float(np.hypot(g.std(), r.std()) / len(g) ** 0.5)
    return {"depth_shift": Estimate(value=abs(g.mean() - r.mean()), error=error)}


METRIC = PluggedMetric(
    compare=mean_depth,
    judgements={"depth_shift": Judgement(target=0.0, meaning="Difference of the mean depths")},
    domains=("calofast",),
)
