"""From a torch module to the bytes of a self-contained ONNX file: the one place that knows torch's exporter.

Route: torch's TorchScript exporter. Measured with torch 2.13 on the test generator: it writes opset 17 with
IR 8 and folds weight * mask in 0.4 s; the newer ``dynamo=True`` route takes 9 s, writes opset 18 only and
fails to convert it down (``Pad`` has no adapter). The older route is announced as going away; what replaces
it goes in here, and `exporters.contract` decides whether it is good enough.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from exporters.contract import (
    INT8_OPERATORS,
    IR_VERSION,
    LOOP_OPERATORS,
    OPSET,
    Signature,
    violations,
)
from exporters.dependencies import PACKED, require_onnx
from exporters.folding import fold_constants
from exporters.loops import MOST_UNROLLED, expand_inverses
from exporters.rewriting import exact_sigmoid
from exporters.storage import quantised, store_half
from hepflows.errors import ConfigError
from hepflows.long_inverses import placing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from exporters.storage import Storage

_PROTOBUF_LIMIT: Final = 2**31 - 1
_BATCH: Final = "N"
#: Announcements of the exporter's end; its remark on slices, which `fold_constants` folds; the tracer's on
#: Python numbers taken from tensors: the comparison with torch on other events tells if they are constant.
_EXPECTED_WARNINGS: Final = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
    (DeprecationWarning, "The feature will be removed"),
    (UserWarning, r"Constant folding - Only steps=1 can be constant folded"),
    (torch.jit.TracerWarning, ""),  # type: ignore[attr-defined]  # public, but not in torch.jit.__all__
)


class _Named(nn.Module):
    """A sampler with exactly the inputs of a signature."""

    def __init__(self, sampler: nn.Module, signature: Signature, noise_dim: int) -> None:
        super().__init__()
        self.sampler, self.noise_dim = sampler, noise_dim
        self.names = [name for name, _ in signature.inputs]

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        cond, noise = given[0], given[-1]
        if self.names == [PACKED]:
            cond, noise = noise[:, self.noise_dim :], noise[:, : self.noise_dim]
        elif len(given) == 1:
            cond = noise[:, :0]
        x: Tensor | tuple[Tensor, ...] = self.sampler(cond, noise)
        return x


def lower(module: nn.Module, signature: Signature, example: Sequence[Tensor], *, storage: Storage = "float32") -> bytes:
    """Translate a module into ONNX bytes that keep the contract.

    Args:
        module: float32, in evaluation mode; columns of the condition (N, C) and noise (N, Z) to x (N, D), or to as
            many tensors as the signature has outputs.
        signature: names and widths of inputs and outputs.
        example: columns of the condition and noise, float32, inside the valid range.
        storage: of the weights; for float16 the module's are such numbers already.

    Raises:
        ConfigError: the module needs an operator that ONNX or the contract does not have, or is above 2 GB.
    """
    onnx = require_onnx()
    size = sum(tensor.numel() * 4 for tensor in (*module.parameters(), *module.buffers()))
    if size > _PROTOBUF_LIMIT:
        raise ConfigError(
            "the generator is too large for one ONNX file",
            expected="weights below 2 GB",
            found=f"{size / 1e9:.1f} GB",
            remedy="train a smaller network",
        )
    cond, noise = example
    given = [cond, noise] if cond.shape[1] else [noise]
    if signature.inputs[0][0] == PACKED:
        given = [torch.cat([noise, cond], dim=1)]
    with placing(MOST_UNROLLED) as placeholders:
        traced = _trace(_Named(module, signature, noise.shape[1]).eval(), signature, given)
    model = onnx.load_from_string(traced)
    exact_sigmoid(model)
    fold_constants(model)
    expand_inverses(model, placeholders.inverses)
    besides = LOOP_OPERATORS if placeholders.inverses else frozenset()
    if storage == "float16":
        store_half(model)
    elif storage == "int8":
        if placeholders.inverses:
            raise ConfigError(
                "a generator that samples one dimension after the other cannot be int8",
                expected="one pass, whose large products are quantised at once",
                remedy="store float32 or float16 weights, or export a distilled student",
            )
        model = quantised(model)
        besides = INT8_OPERATORS
    _finish(model, signature)
    broken = violations(model, signature, besides=besides)
    if broken:
        raise ConfigError("the exported graph breaks the embedding contract", found="; ".join(broken))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _trace(module: nn.Module, signature: Signature, example: Sequence[Tensor]) -> bytes:
    names, outputs = ([name for name, _ in tensors] for tensors in (signature.inputs, signature.outputs))
    buffer = io.BytesIO()
    # With gradients on, modules avoid writing in place, which would become scatter operators.
    with warnings.catch_warnings(), torch.enable_grad():
        for category, message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=category)
        try:
            torch.onnx.export(
                module,
                # One tensor object passed for two inputs would be taken for one input.
                tuple(tensor.clone() for tensor in example),
                buffer,  # type: ignore[arg-type]  # this route writes to open files; the annotation omits it
                dynamo=False,
                opset_version=OPSET,
                input_names=names,
                output_names=outputs,
                dynamic_axes={name: {0: _BATCH} for name in (*names, *outputs)},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConfigError(
                f"the generator cannot be expressed in ONNX opset {OPSET}",
                found=str(error).splitlines()[0],
                remedy="build its sampling module from portable operators",
            ) from error
    return buffer.getvalue()


def _finish(model: Any, signature: Signature) -> None:
    """Set what the exporter leaves open or sets differently; remove what only names this machine's files."""
    onnx = require_onnx()
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "hepflows", "", ""
    graph = model.graph
    graph.name = "sampler"
    del graph.value_info[:]
    used = {node.domain for node in graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)
    for node in graph.node:
        node.doc_string = ""
    for value, (name, width) in zip(graph.output, signature.outputs, strict=True):
        value.CopyFrom(onnx.helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, [_BATCH, width]))
