"""Jets that stay in their file: masses and multiplicities are in memory, constituents are read when they are needed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.files import sha256_of
from hepflows.train.streaming import StreamedRows, sample_rows
from jetgen.dataset import TrainingPart, require_pt, training_part
from jetgen.jet_checks import Places, slot_mask
from jetgen.preprocessing import Constituents
from jetgen.reading import open_jets, read_entries
from jetgen.selection import ReadOptions, kind_of, plan_reading

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.config import JetFlowConfig
    from jetgen.jet_file import JetFile
    from jetgen.jets import Jets
    from jetgen.selection import ReadSettings

_COLUMNS = 4  # of a slot: eta, phi, pT, mask
_PIECE = 10_000  # jets of the first pass that are in memory at once


@dataclass(frozen=True, kw_only=True)
class StreamedJets:
    """Jets of an open file, in training instead of `Jets`.

    Attributes:
        path: the file.
        n_slots: P.
        mass_rel: shape (N,), see `Jets.mass_rel`.
        multiplicity: shape (N,).
        kind: label, if all have one.
        provenance: where the jets come from.
        buffer: how many of them may be in memory.
    """

    path: Path
    n_slots: int
    mass_rel: NDArray[np.float64]
    multiplicity: NDArray[np.int64]
    kind: str | None
    provenance: Mapping[str, str]
    buffer: int
    _file: JetFile
    _entries: NDArray[np.int64]
    _options: ReadOptions

    def identity(self) -> str:
        """What a training builds on: the content of the file, by a pass over it, and the buffer."""
        return f"{sha256_of(self.path)}/{self.buffer}"

    def __len__(self) -> int:
        return len(self._entries)

    def constituents(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Constituents (m, 4, P) of the jets with these numbers, rising: eta, phi, pT, and 1 where there is one."""
        return _packed(read_entries(self._file, self._entries[rows], self._options, check_units=False).ordered())


@contextlib.contextmanager
def stream_jets(
    path: str | os.PathLike[str], *, buffer: int = 100_000, **settings: Unpack[ReadSettings]
) -> Iterator[StreamedJets]:
    """Open a file for a training on jets that are not read into memory; masses are computed in a first pass.

    Args:
        path: HDF5, ROOT or Parquet file.
        buffer: training jets in memory at a time; up to as many more are held out for the validation.
        **settings: the keyword arguments of `jetgen.read_jets`; units are checked on the first jets. Constituents are
            always sorted.

    Raises:
        DataError: see `jetgen.read_jets`; or a constituent has no pT.
    """
    options = ReadOptions(**settings)
    with open_jets(path, options) as file:
        entries = plan_reading(file, options)
        if options.drop_empty:
            entries = _filled(file, entries)
        masses, multiplicities = [], []
        for first in range(0, len(entries), _PIECE):
            jets = read_entries(file, entries[first : first + _PIECE], options, check_units=first == 0)
            require_pt(jets, where=file.path.name, first=first)
            masses.append(jets.mass_rel)
            multiplicities.append(jets.multiplicity)
        yield StreamedJets(
            path=file.path,
            n_slots=options.particles or file.n_slots,
            mass_rel=np.concatenate(masses),
            multiplicity=np.concatenate(multiplicities),
            kind=kind_of(file, options, entries),
            provenance={**file.provenance, "file": file.path.name},
            buffer=buffer,
            _file=file,
            _entries=entries,
            _options=options,
        )


def _filled(file: JetFile, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The entries that have constituents; all of them if none has, for the reader to refuse."""
    kept = []
    for start in range(0, file.n, _PIECE):  # by place in the file: selected entries may lie far apart
        first, last = np.searchsorted(entries, (start, start + _PIECE))
        if first == last:
            continue
        some = entries[first:last]
        mask = file.read_block(start, min(start + _PIECE, file.n)).mask[some - start]
        kept.append(some[slot_mask(mask, places=Places(path=file.path, entries=some)).any(axis=1)])
    found = np.concatenate(kept)
    return found if len(found) else entries


def _packed(jets: Jets) -> NDArray[np.float32]:
    return np.stack([jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask], axis=1, dtype=np.float32)


def _unpacked(rows: Tensor) -> Constituents:
    eta, phi, pt, mask = rows.unbind(1)
    return Constituents(eta, phi, pt, mask > 0)


@dataclass(frozen=True, kw_only=True)
class StreamedTensors(TrainingPart):
    """Training data of which a buffer is in memory.

    Attributes:
        rows: packed constituents of the training jets.
        held_out: packed constituents of the validation jets, on the training device.
        buffer: jets kept, and jets that preprocessing is fitted to.
        seed: of order and sample.
    """

    rows: StreamedRows
    held_out: Tensor
    buffer: int
    seed: int

    def order(self, epoch: int) -> Tensor:
        """Training jets of an epoch, shuffled as the buffer can serve them."""
        return self.rows.order(epoch, seed=self.seed)

    def training_batch(self, index: Tensor) -> tuple[Constituents, Tensor]:
        """The training jets with these numbers."""
        device = self.train.device
        return _unpacked(self.rows.take(index).to(device)), self.conditions[self.train[index.to(device)]]

    def validation_batch(self, index: Tensor) -> tuple[Constituents, Tensor]:
        """The held-out jets with these numbers."""
        index = index.to(self.train.device)
        return _unpacked(self.held_out[index]), self.conditions[self.validation[index]]

    def fitting_sample(self) -> tuple[Constituents, Tensor]:
        """Constituents and masses of random training jets, as many as the buffer holds, by a pass over all.

        The jets with the largest angle, the largest and the smallest pT are always among them: they set the ranges of
        what is generated.
        """
        sample = np.empty((min(self.buffer, len(self.train)), _COLUMNS, self.n_slots), dtype=np.float32)
        rows = np.empty(len(sample), dtype=np.int64)
        extremes: dict[str, tuple[float, int, NDArray[np.float32]]] = {}
        first = done = 0
        for block, chosen in sample_rows(self.rows, len(self.train), self.buffer, seed=self.seed):
            here = slice(done, done + len(chosen))
            sample[here], rows[here] = block[chosen], first + chosen
            for name, sizes in _extents(block).items():
                at = int(sizes.argmax())
                if name not in extremes or sizes[at] > extremes[name][0]:
                    extremes[name] = (float(sizes[at]), first + at, block[at].copy())
            done, first = done + len(chosen), first + len(block)
        wanted = {row: jet for _, row, jet in extremes.values()}
        places = np.flatnonzero(~np.isin(rows, list(wanted)))
        for place, row in zip(places, wanted.keys() - set(rows.tolist()), strict=False):
            rows[place], sample[place] = row, wanted[row]
        device = self.train.device
        return _unpacked(torch.from_numpy(sample).to(device)), self.mass[self.train[torch.from_numpy(rows).to(device)]]


def _extents(jets: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """For each packed jet how far it goes in what the preprocessing takes the extremes of, each of shape (m,)."""
    pt, filled = jets[:, 2], jets[:, 3] > 0
    return {
        "angle": np.abs(jets[:, :2]).max(axis=(1, 2)),
        "largest pT": pt.max(axis=1),
        "smallest pT": -np.where(filled, pt, np.float32(np.inf)).min(axis=1),
    }


def make_streamed(jets: StreamedJets, config: JetFlowConfig, device: str) -> StreamedTensors:
    """Split jets that are streamed, and read those that are held out, not more of them than the buffer holds.

    Raises:
        DataError: as in `jetgen.dataset.make_tensors`.
    """
    split, part = training_part(
        jets.mass_rel,
        jets.multiplicity,
        jets.n_slots,
        config,
        device,
        file=jets.provenance.get("file"),
        most_held_out=jets.buffer,
    )

    def read(first: int, last: int) -> NDArray[np.float32]:
        return jets.constituents(split.train[first:last])

    return StreamedTensors(
        **vars(part),
        rows=StreamedRows(read, len(split.train), buffer=jets.buffer),
        held_out=torch.from_numpy(jets.constituents(split.validation)).to(device),
        buffer=jets.buffer,
        seed=config.seed,
    )
