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

from exporters.contract import IR_VERSION, OPSET, Signature, violations
from exporters.dependencies import require_onnx
from exporters.folding import fold_constants
from exporters.loops import expand_inverses
from exporters.rewriting import exact_sigmoid
from hepflows.errors import ConfigError
from hepflows.long_inverses import placing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from exporters.exportable import Condition

_PROTOBUF_LIMIT: Final = 2**31 - 1
_BATCH: Final = "N"
_MOST_UNROLLED: Final = 64  # Flow I over the layers of a calorimeter, not Flow II over its voxels
#: Announcements of the exporter's end; its remark on slices, which `fold_constants` folds; the tracer's on
#: Python numbers taken from tensors: the comparison with torch on other events tells if they are constant.
_EXPECTED_WARNINGS: Final = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
    (DeprecationWarning, "The feature will be removed"),
    (UserWarning, r"Constant folding - Only steps=1 can be constant folded"),
    (torch.jit.TracerWarning, ""),  # type: ignore[attr-defined]  # public, but not in torch.jit.__all__
)


class Guarded(nn.Module):
    """A sampler whose conditions are clamped to their valid range inside the graph.

    A graph cannot raise, and a raw host must never get NaN: whatever it passes, NaN included, the sampler
    sees a condition inside the range.

    Args:
        sampler: cond (N, C), noise (N, Z) to x (N, D).
        conditions: the valid ranges, in the order of the columns.
    """

    low: Tensor
    high: Tensor

    def __init__(self, sampler: nn.Module, conditions: Sequence[Condition]) -> None:
        super().__init__()
        self.sampler = sampler
        self.register_buffer("low", torch.tensor([[condition.low for condition in conditions]]))
        self.register_buffer("high", torch.tensor([[condition.high for condition in conditions]]))

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Shape (N, C) and (N, Z) to (N, D)."""
        # Comparisons with NaN are false, so that NaN becomes the lower end.
        cond = torch.where(cond > self.low, cond, self.low)
        cond = torch.where(cond < self.high, cond, self.high)
        x: Tensor = self.sampler(cond, noise)
        return x


class _Named(nn.Module):
    """A sampler with exactly the inputs and outputs of a signature."""

    def __init__(self, sampler: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.sampler, self.widths = sampler, [width for _, width in signature.outputs]
        self.conditional = len(signature.inputs) > 1

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        noise = given[-1]
        x: Tensor = self.sampler(given[0] if self.conditional else noise[:, :0], noise)
        return x if len(self.widths) == 1 else x.split(self.widths, dim=1)


def lower(module: nn.Module, signature: Signature, example: Sequence[Tensor]) -> bytes:
    """Translate a module into ONNX bytes that keep the contract.

    Args:
        module: float32, in evaluation mode; cond (N, C), noise (N, Z) to the outputs side by side (N, D).
        signature: names and widths of inputs and outputs.
        example: conditions and noise, float32, inside the valid range.

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
    named = [tensor for tensor in example if tensor.shape[1]]
    with placing(_MOST_UNROLLED) as placeholders:
        traced = _trace(_Named(module, signature).eval(), signature, named)
    model = onnx.load_from_string(traced)
    exact_sigmoid(model)
    fold_constants(model)
    expand_inverses(model, placeholders.inverses)
    _finish(model, signature)
    broken = violations(model, signature, loops=bool(placeholders.inverses))
    if broken:
        raise ConfigError("the exported graph breaks the embedding contract", found="; ".join(broken))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _trace(module: nn.Module, signature: Signature, example: Sequence[Tensor]) -> bytes:
    names, outputs = [name for name, _ in signature.inputs], [name for name, _ in signature.outputs]
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
    for node in graph.node:
        node.doc_string = ""
    for value, (name, width) in zip(graph.output, signature.outputs, strict=True):
        shape = [_BATCH, width]
        value.CopyFrom(onnx.helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, shape))
