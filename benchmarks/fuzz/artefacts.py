"""Mutations of artefact directories and exported models; hashes are mostly made to fit again, as a forger would."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz import bytewise
from benchmarks.fuzz.texts import dumped, mutated_value
from hepflows.document import DOCUMENT_NAME, WEIGHTS_NAME, document_hash

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_SIGNED = 0.8
_OPERATORS = ("Identity", "Add", "MatMul", "Gather", "Reshape", "Loop", "If", "Cast", "Where", "Foo", "Transpose")


def mutated_artefact(folder: Path, rng: Random) -> str:
    """Change an artefact in place; returns what was done."""
    document, weights = folder / DOCUMENT_NAME, folder / WEIGHTS_NAME
    content = json.loads(document.read_text(encoding="utf-8"))
    kind = rng.randrange(10)
    if kind == 0:
        data, done = bytewise.mutated(document.read_bytes(), rng)
        document.write_bytes(data)
        return f"document: {done}"
    if kind == 1:
        rng.choice((document, weights)).unlink()
        return "a file is missing"
    if kind in (2, 3):
        data, done = bytewise.mutated(weights.read_bytes(), rng)
        weights.write_bytes(data)
    elif kind in (4, 5):
        done = _header(weights, rng)
    else:
        part = rng.choice(list(content))
        changed, done = mutated_value({part: content.pop(part)}, rng)
        content |= changed
    if rng.random() < _SIGNED and isinstance(content.get("weights"), dict):
        data = weights.read_bytes()
        content["weights"] |= {"sha256": hashlib.sha256(data).hexdigest(), "n_bytes": len(data)}
        if kind in (4, 5) and rng.random() < 0.5:
            _index(content, data)
    if rng.random() < _SIGNED:
        content["document_sha256"] = ""
        content["document_sha256"] = document_hash(json.loads(json.dumps(content)))
    document.write_text(dumped(content, rng), encoding="utf-8", errors="surrogatepass")
    return done


def _header(weights: Path, rng: Random) -> str:
    """The JSON header of a safetensors file: shapes, types, offsets, metadata."""
    data = weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, done = mutated_value(json.loads(data[8 : 8 + length]), rng)
    text = json.dumps(header).encode()
    size = rng.choice((len(text),) * 6 + (0, 2**63, 2**40, len(text) + 1))
    weights.write_bytes(size.to_bytes(8, "little") + text + data[8 + length :])
    return f"safetensors header: {done}"


def _index(content: dict[str, Any], data: bytes) -> None:
    """Make the document's index say what the file's header says."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        names = {"F32": "float32", "F64": "float64", "F16": "float16", "I64": "int64"}
        content["weights"]["tensors"] = {
            name: {"shape": entry["shape"], "dtype": names.get(entry["dtype"], "float32")}
            for name, entry in header.items() if name != "__metadata__"
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return


def mutated_model(path: Path, rng: Random) -> str:
    """Change an exported model and its manifest in place; returns what was done."""
    manifest = path.with_suffix(".manifest.json")
    content = json.loads(manifest.read_text(encoding="utf-8"))
    kind = rng.randrange(10)
    if kind == 0:
        content, done = mutated_value(content, rng)
        manifest.write_text(dumped(content, rng), encoding="utf-8", errors="surrogatepass")
        return f"manifest: {done}"
    if kind in (1, 2, 3):
        data, done = bytewise.mutated(path.read_bytes(), rng)
    else:
        data, done = _graph(path.read_bytes(), rng)
    path.write_bytes(data)
    if rng.random() < _SIGNED:
        content["model"] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        manifest.write_text(json.dumps(content), encoding="utf-8")
    return done


def _graph(data: bytes, rng: Random) -> tuple[bytes, str]:
    import onnx

    proto = onnx.load_from_string(data)
    graph = proto.graph
    match rng.randrange(9):
        case 0 | 1 | 2 | 3:
            prop = rng.choice(proto.metadata_props)
            prop.value = (
                dumped(mutated_value({"value": json.loads(prop.value)}, rng)[0].get("value"), rng)
                .encode("utf-8", "replace")
                .decode()
            )
            done = f"metadata {prop.key}"
        case 4:
            tensor = rng.choice(graph.initializer)
            tensor.dims[:] = [rng.choice((0, 1, -1, 2**31, 2**62)) for _ in tensor.dims]
            done = "dimensions of a weight"
        case 5:
            tensor = rng.choice(graph.initializer)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice(("../../../etc/passwd", "/dev/zero", "nowhere.bin"))
            done = "weights in another file"
        case 6:
            rng.choice(graph.node).op_type = rng.choice(_OPERATORS)
            done = "operator"
        case 7:
            node = rng.choice(graph.node)
            if node.input:
                other = rng.choice(rng.choice(graph.node).output or [""])
                node.input[rng.randrange(len(node.input))] = rng.choice((other, "", "nowhere"))
            done = "edge"
        case _:
            shape = rng.choice([*graph.input, *graph.output]).type.tensor_type.shape
            rng.choice(shape.dim).dim_value = rng.choice((0, -1, 1, 2**31, 2**62))
            done = "shape of an input or output"
    return bytes(proto.SerializeToString()), done
