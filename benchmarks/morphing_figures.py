"""Pictures of morphed sets in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.plane_sets import upright
from hepflows.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepflows.feature_table import FeatureTable

_REACH, _BINS, _ARROWS = 4.5, 90, 60


def draw_pair(source: FeatureTable, target: FeatureTable, morphed: Mapping[str, FeatureTable], path: Path) -> None:
    """Source, target and the morphed source of each method, turned upright, with the paths of some points."""
    from matplotlib.figure import Figure

    pictures = {"source": source, "target": target, **morphed}
    figure = Figure(figsize=(3 * len(pictures), 3.3), layout="constrained")
    edges = np.linspace(-_REACH, _REACH, _BINS + 1)
    for axes, (name, table) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.hist2d(*upright(table).T, bins=(edges, edges), cmap="Blues", cmin=1)
        if name in morphed:
            start, stop = upright(source)[:_ARROWS], upright(table)[:_ARROWS]
            axes.plot(*np.stack([start, stop]).transpose(2, 0, 1), color="tab:red", linewidth=0.6, alpha=0.7)
            moved = np.linalg.norm(table.values - source.values, axis=1).mean()
            name = f"{name.replace('_', ' ')}, moved {moved:.2f}"  # noqa: PLW2901 - the title
        axes.set(title=name, aspect="equal", xticks=[], yticks=[], xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, force=True) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
