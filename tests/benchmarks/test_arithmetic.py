"""Counted operations against the masks, the one-pass inverse against the plain loop, slopes, and the options."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import options as benchmark_options
from benchmarks.architecture import Autoregressive, autoregressive_flow, inputs
from benchmarks.arithmetic import dense_flop, gemm_rates, unmasked_flop
from benchmarks.exactness import _Dense, errors_in_float64
from benchmarks.options import BAD_INPUT, Options, parse, run, unset_slowing_variables
from benchmarks.peers import autoregressive_blocks
from benchmarks.sweep import exponent, local_exponents


@given(
    features=st.integers(1, 9),
    hidden=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    context=st.integers(0, 3),
    blocks=st.integers(1, 3),
    degrees=st.sampled_from(["sequential", "even"]),
)
@settings(deadline=None, max_examples=60)
def test_operations_are_the_ones_of_the_masks(
    features: int, hidden: list[int], context: int, blocks: int, degrees: Any
) -> None:
    shape = Autoregressive(features=features, hidden=tuple(hidden), context=context, blocks=blocks, degrees=degrees)
    counted = 0
    every = 0
    for block in autoregressive_blocks(autoregressive_flow(shape, "teacher", seed=1)):
        for layer in [*block.made.layers, block.made.output]:
            counted += int(layer.mask.sum())
            every += layer.mask.numel()
        counted += context * hidden[0]
        every += context * hidden[0]
    assert unmasked_flop(shape) == 2 * counted
    assert dense_flop(shape) == 2 * every


def test_the_reference_flow_is_caloflows() -> None:
    """28 million weights (arXiv:2106.05285), of which the masks leave about three fifths."""
    shape = Autoregressive()
    sizes = [504, 378, 378, 504 * 23]
    assert dense_flop(shape) == 2 * 8 * (sum(a * b for a, b in pairwise(sizes)) + 4 * 378)
    assert 0.6 < unmasked_flop(shape) / dense_flop(shape) < 0.63


def test_rates_of_matrix_products_are_by_library_and_shape() -> None:
    torch.set_num_threads(2)
    rates = gemm_rates(Autoregressive(features=20, hidden=(16, 16)), quick=True)
    assert {"numpy 1024x1024x1024", "torch 1024x1024x1024", "numpy 256x16x460"} <= rates.keys()
    assert all(rate > 0 for rate in rates.values())
    assert torch.get_num_threads() == 2


def test_networks_with_masks_applied_are_the_same() -> None:
    shape = Autoregressive(features=6, hidden=(9, 9), blocks=1, context=2)
    (block,) = autoregressive_blocks(autoregressive_flow(shape, "teacher", seed=1))
    x, context = inputs(6, 2, 11, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(_Dense(block.made)(x, context), block.made(x, context))


def test_errors_against_the_plain_loop_are_rounding_errors() -> None:
    shape = Autoregressive(features=12, hidden=(10, 10), blocks=3, context=2)
    teacher = autoregressive_flow(shape, "teacher", seed=1)
    found = errors_in_float64(teacher, *inputs(12, 2, 6, seed=2))
    assert (found["events_float64"], found["blocks_float64"]) == (6, 3)
    for name in ("max_abs_error_float64", "max_rel_error_float64", "max_log_det_error_float64"):
        assert 0 <= found[name] < 1e-10


def test_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Autoregressive(features=5, hidden=(6, 6), blocks=1, context=0)
    teacher = autoregressive_flow(shape, "teacher", seed=1)
    right = type(teacher).inverse

    def wrong(self: Any, z: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        x, log_det = right(self, z, context)
        return x + torch.nn.functional.one_hot(torch.tensor(3), 5) * 1e-3, log_det

    monkeypatch.setattr(type(teacher), "inverse", wrong)
    found = errors_in_float64(teacher, *inputs(5, 0, 4, seed=2))
    assert found["max_abs_error_float64"] == pytest.approx(1e-3, rel=1e-6)
    assert found["max_log_det_error_float64"] < 1e-10


def test_slopes_of_power_laws() -> None:
    sizes = [128.0, 256.0, 1024.0]
    times = [3 * size**2.5 for size in sizes]
    assert exponent(sizes, times) == pytest.approx(2.5)
    assert local_exponents(sizes, times) == pytest.approx([2.5, 2.5])
    assert exponent([128.0], [1.0]) is None


class TestOptions:
    def parse(self, *arguments: str) -> Options:
        return parse("", arguments, batches=(1, 1000), quick_batches=(1,))

    def test_quick_is_smaller_and_compares_with_one_library(self) -> None:
        assert (self.parse().batches, self.parse().peers) == ((1, 1000), ("nflows", "zuko", "normflows"))
        assert (self.parse("--quick").batches, self.parse("--quick").peers) == ((1,), ("nflows",))
        assert self.parse("--quick", "--batch", "3,5", "--peers", "none").batches == (3, 5)
        assert self.parse("--peers", "none").peers == ()

    @pytest.mark.parametrize("wrong", [["--batch", "0"], ["--batch", "x"], ["--peers", "pyro"], ["--threads", "0"]])
    def test_what_is_refused(self, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            self.parse(*wrong)
        assert wrong[0] in capsys.readouterr().err

    def test_output_that_cannot_be_written_is_refused_before_any_work(self, tmp_path: Any, capsys: Any) -> None:
        given = self.parse("--json", str(tmp_path))

        def work(_: Options) -> dict[str, Any]:
            raise AssertionError

        assert run("nothing", given, work, show=lambda _: None, draw=lambda *_: None) == BAD_INPUT
        assert "output is a directory" in capsys.readouterr().err

    def test_variables_that_slow_blas_down_are_unset_in_a_new_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[Any] = []
        monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", benchmark_options._UNSET):
            monkeypatch.delenv(name, raising=False)
        unset_slowing_variables()
        assert started == []
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        unset_slowing_variables()
        ((_, arguments, environment),) = started
        assert arguments[1:] == __import__("sys").orig_argv[1:]
        assert "OPENBLAS_CORETYPE" not in environment
        monkeypatch.setenv(benchmark_options._UNSET, environment[benchmark_options._UNSET])
        assert self.parse().header("x")["unset_variables"] == ["OPENBLAS_CORETYPE=Haswell"]
