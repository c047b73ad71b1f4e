"""Showers that stay in their file: scalars are in memory, voxels are read when they are needed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from calofast.dataset import TrainingPart, mirrored, require_lit, training_part
from calofast.reading import check_units, conditions_of_entries, open_showers, read_entries
from calofast.selection import ReadOptions, plan_reading
from hepflows.files import sha256_of
from hepflows.train.streaming import StreamedRows, sample_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray
    from torch import Tensor

    from calofast.config import CaloFlowConfig
    from calofast.geometry import Geometry
    from calofast.selection import ReadingPlan, ReadSettings
    from calofast.shower_file import ShowerFile


@dataclass(frozen=True, kw_only=True)
class StreamedShowers:
    """Showers of an open file, in training instead of `Showers`.

    Attributes:
        path: the file.
        geometry: calorimeter.
        incident_energy_gev: shape (N,).
        conditions: further scalars, each of shape (N,).
        pdg: particle, if all are of one kind.
        provenance: where the showers come from.
        buffer: how many of them may be in memory.
    """

    path: Path
    geometry: Geometry
    incident_energy_gev: NDArray[np.float32]
    conditions: Mapping[str, NDArray[np.float32]]
    pdg: int | None
    provenance: Mapping[str, str]
    buffer: int
    _file: ShowerFile
    _plan: ReadingPlan

    def identity(self) -> str:
        """What a training builds on: the content of the file, by a pass over it, and the buffer."""
        return f"{sha256_of(self.path)}/{self.buffer}"

    def __len__(self) -> int:
        return len(self.incident_energy_gev)

    def voxels_mev(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Voxels (m, V) of the showers with these numbers, rising.

        Raises:
            DataError: one of them holds impossible values.
        """
        return read_entries(self._file, self._plan, self._plan.entries[rows]).voxels_mev


@contextlib.contextmanager
def stream_showers(
    path: str | os.PathLike[str], *, buffer: int = 20_000, **settings: Unpack[ReadSettings]
) -> Iterator[StreamedShowers]:
    """Open a file for a training on showers that are not read into memory.

    Args:
        path: HDF5 or ROOT file.
        buffer: training showers in memory at a time; up to as many more are held out for the validation.
        **settings: the keyword arguments of `calofast.read_showers`; units are checked on the first showers.

    Raises:
        DataError: see `calofast.read_showers`.
    """
    options = ReadOptions(**settings)
    with open_showers(path, options) as file:
        plan = plan_reading(file, options)
        check_units(file, read_entries(file, plan, plan.entries[:1000]), options)
        conditions, _ = conditions_of_entries(file, plan, plan.entries)
        yield StreamedShowers(
            path=file.path,
            geometry=file.geometry,
            incident_energy_gev=plan.energy_gev[plan.entries],
            conditions=conditions,
            pdg=plan.pdg,
            provenance={**file.provenance, "file": file.path.name},
            buffer=buffer,
            _file=file,
            _plan=plan,
        )


@dataclass(frozen=True, kw_only=True)
class StreamedTensors(TrainingPart):
    """Training data of which a buffer is in memory.

    Attributes:
        rows: voxels (MeV) of the training showers.
        held_out_mev: voxels of the validation showers, on the training device.
        buffer: showers kept, and showers that preprocessing is fitted to.
        seed: of order and sample.
    """

    rows: StreamedRows
    held_out_mev: Tensor
    buffer: int
    seed: int

    @property
    def in_memory(self) -> int:
        """Training showers that memory holds at once."""
        return min(self.buffer, len(self.train))

    def order(self, epoch: int) -> Tensor:
        """Training showers of an epoch, shuffled as the buffer can serve them."""
        return self.rows.order(epoch, seed=self.seed)

    def training_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of training showers, each mirrored at random."""
        voxels = self.rows.take(index).to(self.train.device)
        return mirrored(voxels, self.mirrors), self.conditions[self.train[index.to(self.train.device)]]

    def validation_batch(self) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of all held-out showers."""
        return self.held_out_mev, self.conditions[self.validation]

    def fitting_sample(self, threshold_mev: float) -> tuple[Tensor, Tensor]:
        """Voxels and conditions of random training showers, as many as the buffer holds, by a pass over all.

        The shower with the largest response is always among them: it sets the scale of the layer energies.

        Raises:
            ConfigError: no voxel reaches the threshold.
            DataError: a shower holds impossible values.
        """
        conditions = self.conditions[self.train]
        energy_gev = conditions[:, 0].cpu().numpy()
        sample = np.empty((self.in_memory, self.mirrors.shape[1]), dtype=np.float32)
        rows = np.empty(len(sample), dtype=np.int64)
        largest, first, done = 0.0, 0, 0
        best: tuple[float, int, NDArray[np.float32]] | None = None
        for block, chosen in sample_rows(self.rows, len(self.train), self.buffer, seed=self.seed):
            here = slice(done, done + len(chosen))
            sample[here], rows[here] = block[chosen], first + chosen
            done += len(chosen)
            response = block.sum(axis=1, dtype=np.float64) / energy_gev[first : first + len(block)]
            at = int(response.argmax())
            if best is None or response[at] > best[0]:
                best = float(response[at]), first + at, block[at].copy()
            largest = max(largest, float(block.max()))
            first += len(block)
        require_lit(largest, threshold_mev)
        if best is not None and best[1] not in rows:
            rows[0], sample[0] = best[1], best[2]
        device = self.train.device
        return torch.from_numpy(sample).to(device), conditions[torch.from_numpy(rows).to(device)]


def make_streamed(showers: StreamedShowers, config: CaloFlowConfig, device: str) -> StreamedTensors:
    """Split showers that are streamed, and read those that are held out, not more of them than the buffer holds.

    Raises:
        ConditionError, DataError, GeometryError: as in `calofast.dataset.make_tensors`.
    """
    buffer = showers.buffer
    split, common = training_part(showers, config, device, most_held_out=buffer)

    def read(first: int, last: int) -> NDArray[np.float32]:
        return showers.voxels_mev(split.train[first:last])

    return StreamedTensors(
        **vars(common),
        rows=StreamedRows(read, len(split.train), buffer=buffer),
        held_out_mev=torch.from_numpy(showers.voxels_mev(split.validation)).to(device),
        buffer=buffer,
        seed=config.seed,
    )
