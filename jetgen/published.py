"""Published data sets of jets: where they are. No checksums of theirs are known here."""

from __future__ import annotations

from hepflows.datasets import DataSet

DATASETS = (
    DataSet(
        name="jetnet",
        title="JetNet: gluon, quark, top, W and Z jets, 30 constituents (arXiv 2106.11535)",
        page="https://zenodo.org/records/6975118",
    ),
)
