"""Writers of the CaloGAN and CaloChallenge HDF5 layouts, chunk by chunk.

Beside the arrays of the layout stands the data set ``hepflows``, a JSON text with geometry, particle, units
of the conditions and provenance, from which the reader restores everything; other programs may ignore it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from calofast.shower_file import METADATA, Metadata
from calofast.showers import Showers
from hepflows.blocks import in_blocks
from hepflows.errors import DataError
from hepflows.guarded_file import GuardedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = Mapping[str, tuple[NDArray[np.generic], str]]

_CHUNK_BYTES = 2**20
_BLOCK = 1024
"""Showers appended together: so the bytes of a file follow from the showers alone."""

_RESERVED = {"energy", "overflow", "incident_energies", "showers", "weights", METADATA}


def write_calogan(chunks: Iterable[Showers], path: Path, *, columns: Columns | None = None) -> None:
    """Write the CaloGAN layout: energies in GeV, deposits in MeV, one array (N, nx, ny) a layer."""
    with _create(path, columns) as append:
        for chunk in in_blocks(chunks, _BLOCK, Showers.concatenate):
            arrays = {"energy": (chunk.incident_energy_gev[:, None], "GeV")}
            for i, (layer, part) in enumerate(zip(chunk.geometry.layers, chunk.geometry.layer_slices, strict=True)):
                arrays[f"layer_{i}"] = (chunk.voxels_mev[:, part].reshape(-1, *layer.shape), "MeV")
            append(chunk, arrays)


def write_calochallenge(chunks: Iterable[Showers], path: Path, *, columns: Columns | None = None) -> None:
    """Write the CaloChallenge layout, everything in MeV.

    The incident energies are stored in double precision: only so does the way GeV -> MeV -> GeV return every
    single-precision value unchanged.
    """
    with _create(path, columns) as append:
        for chunk in in_blocks(chunks, _BLOCK, Showers.concatenate):
            energy_mev = chunk.incident_energy_gev[:, None].astype(np.float64) * 1000.0
            arrays = {"incident_energies": (energy_mev, "MeV"), "showers": (chunk.voxels_mev, "MeV")}
            append(chunk, arrays)


@contextlib.contextmanager
def _create(path: Path, columns: Columns | None) -> Iterator[Callable[[Showers, dict[str, tuple[Any, str]]], None]]:
    """Open a new file and yield a function that appends a chunk to it; a full disk is an `OSError`."""
    with GuardedFile(path) as guard:
        with h5py.File(guard, "w") as file:

            def append(chunk: Showers, arrays: dict[str, tuple[Any, str]]) -> None:
                _append(file, arrays, chunk)
                guard.check()

            yield append
            for name, (values, unit) in (columns or {}).items():
                _new(file, name, values, unit)
                file[name].resize(len(values), axis=0)
                file[name][:] = values
        guard.check()


def _append(file: Any, arrays: dict[str, tuple[Any, str]], chunk: Showers) -> None:
    energy_unit = next(iter(arrays.values()))[1]
    if chunk.overflow_mev is not None:
        arrays["overflow"] = (chunk.overflow_mev, "MeV")
    if chunk.weights is not None:
        arrays["weights"] = (chunk.weights, "")
    for name, values in chunk.conditions.items():
        if name in _RESERVED or name.startswith("layer_"):
            raise DataError("a condition has the name of another data set", where=f"conditions[{name!r}]")
        arrays[name] = (values, chunk.condition_units[name])
    if METADATA not in file:
        file.create_dataset(METADATA, data=Metadata.of(chunk).to_json())
        file.attrs.update({"energy_unit": energy_unit, "cell_unit": "MeV"})
        if chunk.pdg is not None:
            file.attrs["pdg"] = chunk.pdg
    for name, (values, unit) in arrays.items():
        if name not in file:
            _new(file, name, values, unit)
        data = file[name]
        start = data.shape[0]
        data.resize(start + len(values), axis=0)
        data[start:] = values


def _new(file: Any, name: str, values: NDArray[np.generic], unit: str) -> None:
    row_bytes = max(values[:1].nbytes, values.itemsize)
    rows = int(np.clip(_CHUNK_BYTES // row_bytes, 1, 1000))
    data = file.create_dataset(
        name,
        shape=(0, *values.shape[1:]),
        maxshape=(None, *values.shape[1:]),
        dtype=values.dtype,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        shuffle=True,
    )
    data.attrs["unit"] = unit
