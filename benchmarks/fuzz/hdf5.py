"""Mutations of the structure of HDF5 files: shapes, types, links, storage, attributes, the description inside."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from benchmarks.fuzz.texts import dumped, mutated_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

_TYPES: Final = ("f2", "f4", "f8", ">f4", "i1", "i8", "u2", "bool", "S5", "V7", "c8", "f4,i4", "(2,)f4")
_SPECIAL: Final = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30, -1e30, 1e-40, 1e38)


def mutated(path: Path, rng: Random) -> str:
    """Change a file in place; returns what was done."""
    with h5py.File(path, "r+") as file:
        names = [name for name in file if isinstance(file.get(name), h5py.Dataset)]
        groups = [name for name in file if isinstance(file.get(name), h5py.Group) and len(file[name])]
        parent = file[rng.choice(groups)] if groups else file
        names = names or [name for name in parent if isinstance(parent.get(name), h5py.Dataset)]
        change = rng.choice(_CHANGES)
        name = rng.choice(names)
        change(file if name in file else parent, name, rng)
    return f"{change.__name__.removeprefix('_')} {name}"


def _new(group: Any, name: str, make: Callable[[], object]) -> None:
    attributes = dict(group[name].attrs)
    del group[name]
    make()
    for key, value in attributes.items():
        group[name].attrs[key] = value


def _values(group: Any, name: str, rng: Random) -> None:
    data = group[name]
    if data.dtype.kind not in "fiu" or data.size == 0:
        data.attrs["unit"] = "GeV"
        return
    for _ in range(rng.choice((1, 3))):
        index = tuple(rng.randrange(extent) for extent in data.shape)
        value = rng.choice(_SPECIAL)
        data[index] = value if data.dtype.kind == "f" else int(np.clip(np.nan_to_num(value), 0, 100))


def _scaled(group: Any, name: str, rng: Random) -> None:
    data = group[name]
    if data.dtype.kind == "f":
        data[...] = data[...] * rng.choice((0.0, 1e-3, 1e3, -1.0, 1e30, 1e-30))


def _shape(group: Any, name: str, rng: Random) -> None:
    values = group[name][()]
    array = np.asarray(values)
    choices = [array[None], array[..., None], array[:0] if array.ndim else array, array[:1] if array.ndim else array,
               array.reshape(-1), array.T, np.zeros((0, 0, 0)), np.float64(1), np.zeros((40, 2, 2, 2))]  # fmt: skip
    _new(group, name, lambda: group.create_dataset(name, data=rng.choice(choices)))


def _huge(group: Any, name: str, rng: Random) -> None:
    """A shape that was never filled: a small file that declares terabytes."""
    old = group[name].shape
    rows = rng.choice((10**5, 10**7, 10**10, 2**40, 2**62))
    shape = rng.choice(((rows, *old[1:]), (rows,), (rows, 1), (*old[:1], rows), (3, 2**30, 2**20)))
    chunks = rng.choice((None, True, tuple(min(extent, 1000) or 1 for extent in shape)))
    options = {} if chunks is None else {"chunks": chunks, "compression": rng.choice((None, "gzip"))}
    try:
        _new(
            group,
            name,
            lambda: group.create_dataset(name, shape=shape, dtype=rng.choice(("f4", "f8", "i8")), **options),
        )
    except (ValueError, OSError, OverflowError):  # larger than HDF5 allows
        if name in group:
            del group[name]


def _big_chunk(group: Any, name: str, rng: Random) -> None:
    """A chunk of up to 256 MB that compresses to nearly nothing."""
    shape = group[name].shape or (1,)
    chunks = (max(1, rng.choice((2**22, 2**26)) // math.prod(shape[1:])), *shape[1:])
    try:
        _new(
            group,
            name,
            lambda: group.create_dataset(
                name, shape=shape, maxshape=(None, *shape[1:]), chunks=chunks, dtype="f4", compression="gzip"
            ),
        )
        group[name][0] = 1.0
    except (ValueError, OSError, MemoryError):
        if name in group:
            del group[name]


def _type(group: Any, name: str, rng: Random) -> None:
    values = np.asarray(group[name][()])
    kind = np.dtype(rng.choice(_TYPES))
    try:
        array = values.astype(kind)
    except (ValueError, TypeError):
        array = np.zeros(values.shape, kind)
    _new(group, name, lambda: group.create_dataset(name, data=array))


def _text(group: Any, name: str, rng: Random) -> None:
    text = rng.choice(("x", "", "1.5", "é" * 100))
    shape = rng.choice(((), (40,), (40, 1)))
    _new(group, name, lambda: group.create_dataset(name, data=np.full(shape, text, object), dtype=h5py.string_dtype()))


def _ragged(group: Any, name: str, rng: Random) -> None:
    kind = h5py.vlen_dtype(np.float32)
    _new(group, name, lambda: group.create_dataset(name, shape=(40, 1), dtype=kind))
    group[name][rng.randrange(40), 0] = np.ones(5, np.float32)


def _removed(group: Any, name: str, _rng: Random) -> None:
    del group[name]


def _renamed(group: Any, name: str, rng: Random) -> None:
    new = rng.choice((name + "0", "layer_9", "showers", "weights", "pdg", "x" * 300, "a b"))
    if new not in group:
        group.move(name, new)


def _group(group: Any, name: str, _rng: Random) -> None:
    del group[name]
    group.create_group(name)


def _link(group: Any, name: str, rng: Random) -> None:
    """A link instead of the data: to nowhere, to itself, to another file, to a device."""
    del group[name]
    group[name] = rng.choice((
        h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/x"),
        h5py.ExternalLink("/dev/zero", "/"), h5py.ExternalLink("/etc/passwd", "/"),
    ))  # fmt: skip


def _outside(group: Any, name: str, rng: Random) -> None:
    """Data whose bytes lie in another file."""
    shape = group[name].shape
    place = rng.choice(("/etc/passwd", "/dev/zero", "../outside.bin"))
    _new(
        group,
        name,
        lambda: group.create_dataset(name, shape=shape, dtype="f4", external=[(place, 0, h5py.h5f.UNLIMITED)]),
    )


def _virtual(group: Any, name: str, rng: Random) -> None:
    shape = group[name].shape
    layout = h5py.VirtualLayout(shape=shape, dtype="f4")
    if shape:
        layout[...] = h5py.VirtualSource(rng.choice((".", "other.h5", "/dev/zero")), name, shape=shape)
    _new(group, name, lambda: group.create_virtual_dataset(name, layout))


def _attribute(group: Any, name: str, rng: Random) -> None:
    target = rng.choice((group, group[name]))
    key = rng.choice(("unit", "units", "energy_unit", "cell_unit", "pdg", "particle", "columns", "kind", "schema", "x"))
    target.attrs[key] = rng.choice(
        ("GeV", "", "parsec", "x" * 2000, "\x1b[2J", b"\xff\xfe", 3.5, np.arange(3), np.nan, "11", "e+")
    )


def _description(group: Any, _name: str, rng: Random) -> None:
    """The JSON that this package stores beside the arrays."""
    if "hepflows" not in group:
        group["hepflows"] = rng.choice(("", "{}", "[]", "[" * 20_000, '{"schema": "hepflows-showers/1"}', "null"))
        return
    content = json.loads(group["hepflows"][()])
    text = dumped(mutated_value(content, rng)[0], rng)
    del group["hepflows"]
    group["hepflows"] = text.encode("utf-8", "surrogatepass")


_CHANGES: Final[tuple[Callable[[Any, str, Random], None], ...]] = (
    _values, _scaled, _shape, _huge, _big_chunk, _type, _text, _ragged, _removed, _renamed, _group, _link, _outside,
    _virtual, _attribute, _description, _description, _description,
)  # fmt: skip
