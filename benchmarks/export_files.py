"""Exported files for timing: the graphs of `hepflows export` without its comparison with torch, which takes minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exporters.contract import IR_VERSION, OPSET, OUTPUT, operators
from exporters.dependencies import require_onnx
from exporters.evaluation import draw_inputs, evaluate_torch
from exporters.exportable import read_conditions
from exporters.golden import Golden, write_golden
from exporters.lowering import lower
from exporters.manifest import (
    CONTRACT_VERSION,
    EXPORT_KEYS,
    Names,
    generator_entries,
    package_versions,
    with_properties,
    write_manifest,
)
from exporters.profiles import make_profile
from exporters.storage import SMALLEST, quantised, store_half

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from exporters.exportable import Condition, Exportable
    from exporters.storage import Storage


def write_file(generator: Exportable, path: Path) -> None:
    """Write a file with float32 weights, and the manifest that the C++ client asks for."""
    described = generator.export_metadata()
    conditions = read_conditions(described, where=path.name)
    profile = make_profile("generic", conditions, described, threshold_mev=0.0)
    module = profile.wrap(generator.sampling_module()).eval()
    example = draw_inputs(profile.columns, generator.noise_dim, 3, seed=1)
    expected = evaluate_torch(module, example, double=False)
    signature = profile.signature(generator.noise_dim, expected.shape[1])
    tensors = torch.from_numpy(example.cond), torch.from_numpy(example.noise)
    graph = lower(module, signature, tensors)
    metadata = _metadata(graph, described, conditions, signature.inputs, expected.shape[1])
    names = Names.of(path)
    path.write_bytes(with_properties(graph, metadata))
    golden = Golden(cond=example.cond.astype(float), noise=example.noise.astype(float), expected=expected)
    write_golden(names.golden, golden)
    write_manifest(names.manifest, names, path, names.golden, metadata)


def store_as(source: Path, target: Path, storage: Storage) -> None:
    """Write a float32 file's graph with its large weights in another type, as the exporter would store them."""
    onnx = require_onnx()
    model = onnx.load(str(source))
    if storage == "float16":
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1 and np.prod(tensor.dims) >= SMALLEST:
                rounded = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
        store_half(model)
    elif storage == "int8":
        model = quantised(model)
    target.write_bytes(model.SerializeToString())


def stored_bytes(path: Path) -> int:
    """Bytes of the weights inside a file."""
    onnx = require_onnx()
    graph = onnx.load(str(path)).graph
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in _tensors(graph))


def _tensors(graph: Any) -> list[Any]:
    """Weights of a graph and of the bodies of its loops."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            if attribute.HasField("g"):
                found += _tensors(attribute.g)
    return found


def _metadata(
    graph: bytes,
    described: Mapping[str, object],
    conditions: Sequence[Condition],
    inputs: Sequence[tuple[str, int]],
    width: int,
) -> dict[str, object]:
    """What clients read; null for what only the comparison with torch could tell."""
    return {
        **dict.fromkeys(EXPORT_KEYS),
        **generator_entries(described),
        "contract_version": CONTRACT_VERSION,
        "profile": "generic",
        "task": described.get("task"),
        "io": {
            "dtype": "float32",
            "batch_axis": 0,
            "inputs": [{"name": name, "width": columns} for name, columns in inputs],
            "outputs": [{"name": OUTPUT, "width": width}],
        },
        "noise": {"distribution": "standard_normal", "input": inputs[-1][0], "width": inputs[-1][1], "order": None},
        "rng": "host",
        "conditions": [condition.to_dict() for condition in conditions],
        "out_of_range": "error",
        "package_versions": package_versions(),
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "operators": operators(require_onnx().load_from_string(graph)),
        "storage": {"weights": "float32"},
    }
