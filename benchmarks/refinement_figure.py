"""Picture of the refined toys: the density of each method's points beside the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def draw_toys(densities: Mapping[str, Mapping[str, NDArray[np.float64]]], path: Path, *, reach: float) -> None:
    """One line of pictures a toy, one column a method, all with the colours of the toy's first picture.

    Args:
        densities: toy -> method -> shares of the weight in square cells, the truth first.
        path: PNG file; replaced if it exists.
        reach: of the cells in both directions.
    """
    from matplotlib.figure import Figure

    columns = max(map(len, densities.values()))
    figure = Figure(figsize=(2.2 * columns, 2.35 * len(densities)), layout="constrained")
    grid = figure.subplots(len(densities), columns, squeeze=False)
    for line, (toy, methods) in zip(grid, densities.items(), strict=True):
        largest = max(np.quantile(next(iter(methods.values())), 0.995), 1e-9)
        for axes in line[len(methods) :]:
            axes.set_axis_off()
        for axes, (name, density) in zip(line, methods.items(), strict=False):
            extent = (-reach, reach, -reach, reach)
            shown = np.where(density > 0, density, np.nan).T
            axes.imshow(shown, origin="lower", extent=extent, vmin=0, vmax=largest, cmap="viridis")
            axes.set(xticks=[], yticks=[])
            axes.set_title(name, fontsize="medium")
        line[0].set_ylabel(toy)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, force=True) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
