"""A toy domain of two Gaussian features with one condition: the validation tested without physics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from hepflows.errors import ConfigError, DataError
from hepflows.observable import Image, Observable


@dataclass(frozen=True, kw_only=True)
class Points:
    condition: np.ndarray
    x: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self):
        return len(self.x)

    def select(self, index):
        weights = None if self.weights is None else self.weights[index]
        return Points(condition=self.condition[index], x=self.x[index], weights=weights)


@dataclass(frozen=True, kw_only=True)
class PointDomain:
    scale: float = 1.0
    name: str = "points"
    noun: str = "points"
    reference_label: str = "truth"
    inputs: tuple[str, ...] = ("all", "log")
    ratios: tuple[str, ...] = ("a",)

    def profiled(self, events):
        return ("b",)

    def configured(self, options):
        if set(options) - {"scale"}:
            raise ConfigError("unknown setting", where=min(options))
        return dataclasses.replace(self, **options)

    def settings(self, events):
        return {"scale": self.scale}

    def compatible(self, reference, generated):
        if reference.x.shape[1] != generated.x.shape[1]:
            raise DataError("different kinds of points")

    def cautions(self, reference, generated):
        return ()

    def condition(self, events):
        return events.condition[:, None]

    def binning(self, events):
        return Observable(name="c", label="$c$", unit="GeV", group="condition", values=events.condition)

    def observables(self, events):
        a, b = self.scale * events.x[:, 0], self.scale * events.x[:, 1]
        return (
            Observable(name="a", label="$a$", unit="mm", group="Both", values=a),
            Observable(name="b", label="$b$", unit="", group="Both", values=b),
            Observable(name="all", label="entries", unit="MeV", group="All", values=np.exp(events.x), log=True),
        )

    def classifier_inputs(self, events, *, preset, inputs):
        return events.x.astype(np.float32)

    def mirrors(self, events, *, inputs):
        return (np.array([1, 0]),) if inputs == "log" else ()

    def images(self, events):
        edges = np.linspace(-4, 8, 7)
        x, y = np.meshgrid(edges, edges)
        values = np.histogram2d(events.x[:, 1], events.x[:, 0], bins=(edges, edges))[0] / len(events)
        labels = {"x_label": "a [mm]", "y_label": "b", "value_label": "share"}
        return (Image(name="plane", title="plane", x_corners=x, y_corners=y, values=values, **labels),)


def make_points(n, *, seed, shift=0.0, condition=None, weights=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 1.0, size=(n, 2))
    x[:, 0] += shift
    c = rng.uniform(1, 100, n) if condition is None else condition
    return Points(condition=c, x=x, weights=weights)


@pytest.fixture(scope="session")
def points():
    return make_points


@pytest.fixture(scope="session")
def domain():
    return PointDomain()
