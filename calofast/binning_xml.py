"""The binning files of the CaloChallenge (arXiv 2410.21611).

One ``<Bin pid= name=>`` a particle holds one ``<Layer id= r_edges= n_bin_alpha=>`` a layer, lengths in mm; a
layer with a single edge is empty and left out. The parser knows elements and attributes only: document
types, and with them entities, are refused, so that a file from elsewhere cannot make it grow or read others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from calofast.geometry import Geometry
from calofast.layer import Layer
from calofast.particles import pdg_code
from hepflows.errors import DataError, GeometryError
from hepflows.files import atomic_file, require_file

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class _Bin:
    """One <Bin> element: its attributes and those of its layers."""

    attributes: Mapping[str, str]
    layers: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.attributes.get("name", self.attributes.get("pid", ""))


def read_binning_xml(path: str | os.PathLike[str], *, particle: str | int | None = None) -> Geometry:
    """Read a CaloChallenge binning file.

    Args:
        path: the XML file.
        particle: which of several particles to take, by name (``photon``) or PDG code; not needed if the file
            has only one.

    Returns:
        The geometry, its particle being the one of the file.

    Raises:
        DataError: the file is missing, no XML, or holds a document type.
        GeometryError: no such particle, or a layer that makes no sense; the message names it.
    """
    path = require_file(path, "binning file")
    chosen = _choose(_parse(path), particle, path)
    layers, identifiers = [], set()
    for index, attributes in enumerate(chosen.layers):
        where = f"{path}: <Bin {chosen.name}> <Layer> number {index}"
        identifier = attributes.get("id", str(index))
        if identifier in identifiers:
            raise GeometryError("two layers have the same id", where=where, found=identifier)
        identifiers.add(identifier)
        edges = _floats(attributes, "r_edges", where)
        if len(edges) < 2:
            continue
        n_alpha = attributes.get("n_bin_alpha", "")
        if not (n_alpha.isdecimal() and len(n_alpha) < 10):
            raise GeometryError(
                "number of angular bins is missing or not an integer",
                where=f"{where}, n_bin_alpha",
                found=repr(n_alpha[:100]),
            )
        z_mm = _floats(attributes, "z_mm", where) if "z_mm" in attributes else None
        if z_mm is not None and len(z_mm) != 2:
            raise GeometryError("front and back face expected", where=f"{where}, z_mm", found=attributes["z_mm"])
        try:
            layer = Layer(
                name=attributes.get("name", f"layer_{identifier}"),
                kind="cylindrical",
                r_edges_mm=edges,
                n_alpha=int(n_alpha),
                z_mm=None if z_mm is None else (z_mm[0], z_mm[1]),
            )
        except GeometryError as error:
            raise GeometryError(
                error.what, where=f"{where}: {error.where}", expected=error.expected, found=error.found
            ) from None
        layers.append(layer)
    if not layers:
        raise GeometryError("no layer has any bins", where=f"{path}: <Bin {chosen.name}>")
    name = chosen.attributes.get("geometry", path.stem)
    return Geometry(name=name, layers=tuple(layers), particle=chosen.attributes.get("name"))


def write_binning_xml(geometry: Geometry, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write the binning file of a geometry made of cylindrical layers.

    Layers called ``layer_<n>`` in rising order keep their numbers, missing numbers become empty layers, so
    that other readers, which count layers, find each at its place.

    Raises:
        GeometryError: a layer is not cylindrical.
        OutputError: the file exists and `force` is false, or cannot be written.
    """
    for layer in geometry.layers:
        if layer.kind != "cylindrical":
            raise GeometryError(
                "a binning file holds cylindrical layers only",
                where=f"{geometry.name}.{layer.name}",
                found=layer.kind,
                remedy="write the CaloGAN layout or ROOT",
            )
    identifiers = layer_numbers(geometry)
    pdg = pdg_code(geometry.particle)
    head = {} if pdg is None else {"pid": str(pdg)}
    head |= {} if geometry.particle is None else {"name": geometry.particle}
    head |= {"geometry": geometry.name}
    lines = ["<Bins>", f"  <Bin{_attributes(head)}>"]
    position = 0
    for number, layer in zip(identifiers, geometry.layers, strict=True):
        lines += [
            f"    <Layer{_attributes({'id': str(empty), 'r_edges': '0', 'n_bin_alpha': '1'})}/>"
            for empty in range(position, number)
        ]
        position = number + 1
        entry = {"id": str(number), "r_edges": _numbers(layer.r_edges_mm), "n_bin_alpha": str(layer.n_alpha)}
        entry |= {} if layer.z_mm is None else {"z_mm": _numbers(layer.z_mm)}
        entry |= {} if layer.name == f"layer_{number}" else {"name": layer.name}
        lines.append(f"    <Layer{_attributes(entry)}/>")
    lines += ["  </Bin>", "</Bins>", ""]
    with atomic_file(path, force=force) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return require_file(path)


def layer_numbers(geometry: Geometry) -> tuple[int, ...]:
    """Numbers in the layers' names if all are called ``layer_<n>`` in rising order, else 0 ... L - 1."""
    tails = [layer.name.removeprefix("layer_") for layer in geometry.layers]
    if all(tail.isdecimal() and len(tail) < 4 for tail in tails):
        numbers = tuple(int(tail) for tail in tails)
        if all(low < high for low, high in itertools.pairwise(numbers)):
            return numbers
    return tuple(range(geometry.n_layers))


def _parse(path: Path) -> list[_Bin]:
    content = path.read_bytes()
    if len(content) > _MAX_BYTES:
        raise DataError("too large for a binning file", where=path, found=f"{len(content)} bytes")
    bins: list[_Bin] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "Bin":
            bins.append(_Bin(attributes=attributes))
        elif tag == "Layer":
            if not bins:
                raise GeometryError("a <Layer> outside of a <Bin>", where=path)
            bins[-1].layers.append(attributes)

    def doctype(*_: object) -> None:
        raise DataError(
            "the binning file has a document type",
            where=path,
            remedy="remove <!DOCTYPE ...>; entities are never expanded here",
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError("not a binning file in XML", where=path, found=str(error)) from None
    if not bins:
        raise DataError("no <Bin> in the binning file", where=path, expected="<Bins><Bin><Layer .../>")
    return bins


def _choose(bins: list[_Bin], particle: str | int | None, path: Path) -> _Bin:
    names = ", ".join(entry.name for entry in bins)
    wanted = pdg_code(particle) if isinstance(particle, str) else particle
    matching = [
        entry
        for entry in bins
        if particle is None
        or entry.attributes.get("name") == particle
        or (wanted is not None and entry.attributes.get("pid") == str(wanted))
    ]
    if not matching:
        raise GeometryError("no such particle in the binning file", where=path, expected=names, found=particle)
    if len(matching) > 1:
        raise GeometryError("several particles in the binning file", where=path, found=names, remedy="give particle=")
    return matching[0]


def _floats(attributes: Mapping[str, str], key: str, where: str) -> tuple[float, ...]:
    text = attributes.get(key, "")
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise GeometryError("missing or not a list of numbers", where=f"{where}, {key}", found=repr(text)) from None


def _numbers(values: tuple[float, ...]) -> str:
    # repr keeps every bit, integers stay short as in the published files
    return ",".join(str(int(value)) if value == int(value) else repr(value) for value in values)


def _attributes(entries: Mapping[str, str]) -> str:
    return "".join(f" {key}={quoteattr(value)}" for key, value in entries.items())
