"""Models whose texts are not UTF-8 or whose metadata have a wrong shape are refused, as any damaged file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from exporters.dependencies import open_model, run
from exporters.runtime import damage_as_error
from hepflows.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("Identity", ["abcdefgh"], ["out"])
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("abcdefgh", "out")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    open_model(path, threads=1)
    path.write_bytes(model.SerializeToString().replace(b"abcdefgh", b"abc\xff\xffgh!"))
    none = np.zeros((1, 1), np.float32)
    with pytest.raises(ArtefactError, match=r"cannot (load|run) the file(.|\n)*utf-8"):
        run(open_model(path, threads=1), none, none)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("noise"),
        TypeError("None"),
        ValueError("int('x')"),
        OverflowError("big"),
        AttributeError("get"),
        RuntimeError("size of tensor"),
    ],
)
def test_metadata_of_a_wrong_shape(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(ArtefactError, match="damaged"), damage_as_error(tmp_path / "a.onnx"):
        raise error
