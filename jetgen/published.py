"""Published data sets of jets, whose checksums their record states."""

from __future__ import annotations

from hepflows.datasets import DataSet, Record

DATASETS = (
    DataSet(
        name="jetnet",
        title="JetNet: gluon, quark, top, W and Z jets, 30 constituents (arXiv 2106.11535)",
        page="https://zenodo.org/records/6975118",
        record=Record(
            kind="zenodo",
            url="https://zenodo.org/api/records/6975118",
            names=("g.hdf5", "q.hdf5", "t.hdf5", "w.hdf5", "z.hdf5"),
        ),
    ),
)
