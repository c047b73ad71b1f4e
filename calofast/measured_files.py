"""Measuring files of showers in a stream, with a cache of what was measured.

A cache entry is named after the SHA-256 of the file's content, of the way it is read, of the threshold and of this
package's code, never after the file's name: a changed file, another part of it or another version is measured anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np

from calofast.geometry import Geometry
from calofast.measured import MeasuredShowers, measure_showers
from calofast.reading import iterate_showers
from hepflows.errors import HepflowsError, OutputError
from hepflows.files import atomic_file, require_file, sha256_of

if TYPE_CHECKING:
    import os

    from calofast.selection import ReadSettings

_ARRAYS: Final = ("incident_energy_gev", "columns", "layers_mev", "radial_mev", "mean_mev")


def measure_file(
    path: str | os.PathLike[str],
    *,
    threshold_mev: float | None = None,
    cache: str | os.PathLike[str] | None = None,
    **settings: Unpack[ReadSettings],
) -> MeasuredShowers:
    """Measure the showers of a file chunk by chunk; memory does not grow with its voxels.

    Args:
        path: HDF5 or ROOT file.
        threshold_mev: voxels below are zeroed; None takes the published value of the geometry.
        cache: directory in which measurements are kept and looked up; None for no cache.
        **settings: the keyword arguments of `calofast.read_showers`.

    Raises:
        HepflowsError: see `calofast.read_showers`.
        OutputError: the cache is not a directory, or cannot be written.
    """
    file = require_file(path, "shower file")
    entry = None
    if cache is not None:
        entry = Path(cache) / f"{cache_key(file, threshold_mev, settings)}.npz"
        found = _load(entry)
        if found is not None:
            return replace(found, provenance={**found.provenance, "file": file.name})
    measured = measure_showers(iterate_showers(file, **settings), threshold_mev=threshold_mev)
    if entry is not None:
        _save(entry, measured)
    return measured


def cache_key(path: Path, threshold_mev: float | None, settings: ReadSettings) -> str:
    """SHA-256 over everything that the measurement of a file depends on."""
    options: dict[str, Any] = dict(settings)
    if options.get("geometry") is not None:
        options["geometry"] = options["geometry"].to_dict()
    if options.get("binning_xml") is not None:
        options["binning_xml"] = sha256_of(options["binning_xml"])
    facts = {
        "content": sha256_of(path),
        "reading": {name: value for name, value in options.items() if value is not None},
        "threshold_mev": threshold_mev,
        "code": _code_version(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _code_version() -> str:
    """SHA-256 over the sources of this package: between releases the version number does not change."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _save(entry: Path, measured: MeasuredShowers) -> None:
    facts = {
        "geometry": measured.geometry.to_dict(),
        "threshold_mev": measured.threshold_mev,
        "pdg": measured.pdg,
        "provenance": dict(measured.provenance),
        "conditions": sorted(measured.conditions),
    }
    arrays = {name: getattr(measured, name) for name in _ARRAYS}
    arrays |= {f"condition_{name}": values for name, values in measured.conditions.items()}
    if measured.weights is not None:
        arrays["weights"] = measured.weights
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cache cannot be made", where=entry.parent, found=error, remedy="choose another --cache"
        ) from None
    with atomic_file(entry, force=True) as temporary, temporary.open("wb") as handle:
        np.savez(handle, facts=text, **arrays)


def _load(entry: Path) -> MeasuredShowers | None:
    """What is cached, or None if nothing is or the entry is damaged: then it is measured and written again."""
    if not entry.is_file():
        return None
    try:
        with entry.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            facts = json.loads(stored["facts"].tobytes())
            measured = MeasuredShowers(
                geometry=Geometry.from_dict(facts["geometry"]),
                threshold_mev=facts["threshold_mev"],
                pdg=facts["pdg"],
                provenance=facts["provenance"],
                conditions={name: stored[f"condition_{name}"] for name in facts["conditions"]},
                weights=stored.get("weights"),
                **{name: stored[name] for name in _ARRAYS},
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, HepflowsError):
        return None
    lengths = {len(a) for a in (measured.columns, measured.layers_mev, measured.radial_mev)}
    return measured if lengths == {len(measured)} else None
