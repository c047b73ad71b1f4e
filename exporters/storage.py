"""How weights are stored in the file: as they are, as float16, or as int8.

float16 halves the file; the arithmetic stays float32. The weights are rounded before anything else, so that the graph
is exact for the rounded generator, to the same tolerance. int8 quantises the large products dynamically (weights once,
activations in each run): smaller and on wide networks faster, but another generator than the trained one, and one
whose events depend a little on what else is in the batch. What either costs is measured and said in the metadata.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch

from exporters.dependencies import require_onnx
from exporters.loops import MOST_UNROLLED
from exporters.tolerance import Quantiles
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

Storage = Literal["float32", "float16", "int8"]

SMALLEST: Final = 1024
"""Numbers of the smallest tensor that is worth storing in another type."""
_SHARE_OF_LARGEST: Final = 0.05  # of the largest matrix: small networks (Flow I) cost no time and decide a lot
LARGEST_MEAN_DIFFERENCE: Final = 0.25
LARGEST_SHIFT_OF_SUM: Final = 0.02
LARGEST_CHANGE_OF_SPREAD: Final = 0.1
LARGEST_SHIFT_OF_OUTPUT: Final = 0.5
"""Limits on int8, of events with the same noise: beyond them it is an error of the quantiser, not its price."""
_LARGEST_HALF: Final = float(np.finfo(np.float16).max)
_QUANTISED: Final = "MatMulInteger"


def check_storage(storage: object) -> Storage:
    """The storage, if there is one of that name."""
    for known in get_args(Storage):
        if storage == known:
            return known  # type: ignore[no-any-return]  # one of the literals
    raise ConfigError("unknown storage of weights", expected=" or ".join(get_args(Storage)), found=storage)


def rounded_to_half(module: nn.Module) -> nn.Module:
    """A copy whose large weight matrices are float16 numbers, in float32.

    Networks that may become loops keep weights and biases in one array there: all of theirs are rounded.

    Raises:
        ConfigError: a weight is too large for float16.
    """
    module = copy.deepcopy(module)
    looped = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, MaskedAutoregressive | InverseAutoregressive) and part.made.features > MOST_UNROLLED
        for parameter in part.parameters()
    }
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if id(parameter) not in looped and (parameter.ndim < 2 or parameter.numel() < SMALLEST):
                continue
            if not bool((parameter.abs() <= _LARGEST_HALF).all()):
                raise ConfigError(
                    "a weight is too large for float16",
                    where=name,
                    expected=f"at most {_LARGEST_HALF:g}",
                    found=float(parameter.abs().max()),
                    remedy="store float32 weights",
                )
            parameter.copy_(parameter.half().float())
    return module


def store_half(model: Any) -> None:
    """Store the large float32 tensors of an onnx.ModelProto that are float16 numbers as such, in place.

    A Cast before their first use makes them float32 again; the runtime's optimisation does that once, at load.
    """
    onnx = require_onnx()
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST:
            continue
        value = onnx.numpy_helper.to_array(tensor)
        half = value.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), value):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    if not casts:
        raise ConfigError(
            "nothing in this graph is large enough for float16",
            expected=f"weights of {SMALLEST} numbers or more",
            remedy="store float32 weights",
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def quantised(model: Any) -> Any:
    """An onnx.ModelProto with the large products of `model` in int8: weights for each column, activations as they come.

    Raises:
        ConfigError: nothing in it is large enough.
    """
    onnx = require_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    names = _large_products(model)
    with tempfile.TemporaryDirectory() as directory, _silenced():
        source, target = Path(directory, "source.onnx"), Path(directory, "target.onnx")
        source.write_bytes(model.SerializeToString())
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # seven bits: products of eight overflow on processors without VNNI
            nodes_to_quantize=names or ["none"],
        )
        result = onnx.load(target)
    if not any(node.op_type == _QUANTISED for node in result.graph.node):
        raise ConfigError(
            "nothing in this graph is large enough for int8",
            expected=f"products with weight matrices of {SMALLEST} numbers or more",
            remedy="store float32 or float16 weights",
        )
    return result


@contextmanager
def _silenced() -> Iterator[None]:
    """Without the advice that the quantiser gives to the root logger."""
    root = logging.getLogger()

    def refuse(_: logging.LogRecord) -> bool:
        return False

    root.addFilter(refuse)
    try:
        yield
    finally:
        root.removeFilter(refuse)


def _large_products(model: Any) -> list[str]:
    """Names of the products with large weights.

    The quantiser knows no Gemm: all become plain products here, in place. Left to it, old versions transpose a weight
    twice that two nodes share.
    """
    onnx = require_onnx()
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {name: np.prod(tensor.dims) for name, tensor in weights.items()}
    least = max(SMALLEST, max(sizes.values(), default=0) * _SHARE_OF_LARGEST)
    large = {name for name, size in sizes.items() if size >= least}
    names, nodes = [], []
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{i}"
        if node.op_type == "Gemm" and node.input[1] in weights and _is_plain(node):
            x, weight, *bias = node.input
            if weight in large:
                names.append(f"{node.name}_plain")
            if _attributes(node).get("transB"):
                # a product of its own: other nodes may take the weight as it is
                value = np.ascontiguousarray(onnx.numpy_helper.to_array(weights[weight]).T)
                weight = f"{node.name}_weight"
                model.graph.initializer.append(onnx.numpy_helper.from_array(value, weight))
            bias = [name for name in bias if name]
            product = f"{node.name}_product" if bias else node.output[0]
            nodes.append(onnx.helper.make_node("MatMul", [x, weight], [product], name=f"{node.name}_plain"))
            if bias:
                nodes.append(onnx.helper.make_node("Add", [product, *bias], list(node.output), name=f"{node.name}_sum"))
            continue
        nodes.append(node)
        if node.op_type == "MatMul" and node.input[1] in large:
            names.append(node.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)
    return names


def _attributes(node: Any) -> dict[str, Any]:
    onnx = require_onnx()
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _is_plain(node: Any) -> bool:
    """Whether a Gemm is a product plus a bias and nothing else."""
    found = _attributes(node)
    return not found.get("transA") and found.get("alpha", 1.0) == found.get("beta", 1.0) == 1.0


def storage_report(
    storage: Storage, stored: NDArray[np.float64], exact: NDArray[np.float64], *, float32: Quantiles
) -> dict[str, object]:
    """What another storage of the weights changes in events of the same noise, JSON-able.

    Args:
        storage: of the weights.
        stored: events (N, D) of the file, before the hit threshold.
        exact: events (N, D) of the trained generator in float64, likewise.
        float32: differences of float32 itself, for comparison.
    """
    difference = stored - exact
    sums, differences = exact.sum(1), difference.sum(1)
    scale = float(np.abs(sums).mean()) or 1.0
    spread = float(sums.std()) or 1.0
    spreads = exact.std(0)
    vary = spreads > 0  # a cell that is always dark has no spread to compare with
    shifts = np.abs(difference.mean(0))[vary] / spreads[vary]
    return {
        "weights": storage,
        "events": len(exact),
        "differences": Quantiles.of(difference).to_dict(),
        "float32_differences": float32.to_dict(),
        "mean_difference_over_mean": float(np.abs(difference).mean() / (np.abs(exact).mean() or 1.0)),
        "relative_shift_of_mean_sum": float(differences.mean()) / scale,
        "relative_change_of_spread_of_sum": float(stored.sum(1).std()) / spread - 1.0,
        "largest_shift_of_an_output_in_its_spread": float(shifts.max(initial=0.0)),
    }


def too_far(report: Mapping[str, object]) -> list[str]:
    """In words, where an int8 file is another generator than the trained one."""
    limits = {
        "mean_difference_over_mean": LARGEST_MEAN_DIFFERENCE,
        "relative_shift_of_mean_sum": LARGEST_SHIFT_OF_SUM,
        "relative_change_of_spread_of_sum": LARGEST_CHANGE_OF_SPREAD,
        "largest_shift_of_an_output_in_its_spread": LARGEST_SHIFT_OF_OUTPUT,
    }
    found = {name: abs(float(str(report[name]))) for name in limits}
    return [
        f"int8: {name.replace('_', ' ')} {found[name]:.3g} > {limit:g}"
        for name, limit in limits.items()
        if not found[name] <= limit
    ]
