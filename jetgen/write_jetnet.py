"""Writer of the JetNet HDF5 layout, chunk by chunk.

Beside ``particle_features`` and ``jet_features`` stand ``jet_phi``, ``weights`` and ``mass_condition`` if known, and
the data set ``hepflows``, a JSON text from which the reader restores the rest. Columns of ``jet_features`` that are
unknown are NaN, the number of constituents is then that of the stored ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from hepflows.blocks import in_blocks
from hepflows.guarded_file import GuardedFile
from jetgen.jet_file import METADATA, Metadata
from jetgen.jets import Jets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


_CHUNK_BYTES: Final = 2**20
_BLOCK: Final = 1024
"""Jets appended together: so the bytes of a file follow from the jets alone."""

_COLUMNS: Final = {
    "particle_features": "eta_rel,phi_rel,pt_rel,mask",
    "jet_features": "pt,eta,mass,num_particles",
}


def write_jetnet(chunks: Iterable[Jets], path: Path) -> None:
    """Write jets; a full disk is an `OSError`."""
    with GuardedFile(path) as guard:
        with h5py.File(guard, "w") as file:
            for chunk in in_blocks(chunks, _BLOCK, Jets.concatenate):
                if METADATA not in file:
                    file.create_dataset(METADATA, data=Metadata.of(chunk).to_json())
                    file.attrs["energy_unit"] = "GeV"
                    if chunk.kind is not None:
                        file.attrs["kind"] = chunk.kind
                for name, values in _arrays(chunk).items():
                    _append(file, name, values)
                guard.check()
        guard.check()


def _arrays(jets: Jets) -> dict[str, NDArray[np.float32]]:
    unknown = np.full(len(jets), np.nan, dtype=np.float32)
    features = [unknown if values is None else values for values in (jets.jet_pt_gev, jets.jet_eta, jets.jet_mass_gev)]
    count = jets.multiplicity if jets.n_constituents_all is None else jets.n_constituents_all
    arrays = {
        "particle_features": np.concatenate([jets.particles, jets.mask[..., None].astype(np.float32)], axis=2),
        "jet_features": np.stack([*features, count.astype(np.float32)], axis=1),
    }
    extra = {"jet_phi": jets.jet_phi, "weights": jets.weights, "mass_condition": jets.mass_condition}
    return arrays | {name: values for name, values in extra.items() if values is not None}


def _append(file: Any, name: str, values: NDArray[np.float32]) -> None:
    if name not in file:
        rows = int(np.clip(_CHUNK_BYTES // max(values[:1].nbytes, 1), 1, 1000))
        data = file.create_dataset(
            name,
            shape=(0, *values.shape[1:]),
            maxshape=(None, *values.shape[1:]),
            dtype=np.float32,
            chunks=(rows, *values.shape[1:]),
            compression="gzip",
            shuffle=True,
        )
        if name in _COLUMNS:
            data.attrs["columns"] = _COLUMNS[name]
    data = file[name]
    start = data.shape[0]
    data.resize(start + len(values), axis=0)
    data[start:] = values
