"""The training loop: it learns, stops, resumes bit-identically, and says what is wrong."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from hepflows.draws import Dropout, normal_like
from hepflows.errors import Interrupted, TrainingError, TrainingWarning
from hepflows.flow import ConditionalFlow, ConditionalNormal
from hepflows.memory_errors import is_out_of_memory
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.progress import PlainReporter
from hepflows.train.settings import TrainingConfig, learning_rate

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = TrainingConfig(epochs=6, batch_size=50, learning_rate=0.02)


class _Regression:
    """Least squares with noise drawn at every step, so that random numbers matter."""

    def __init__(
        self,
        model: nn.Module,
        *,
        stop_at: int | None = None,
        stop_in_validation: int | None = None,
        poison: tuple[int, ...] = (),
        explode: tuple[int, ...] = (),
        fits: int = 1000,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(230, 3, generator=generator)
        self.model, self.calls, self.stop_at, self.poison = model, 0, stop_at, poison
        self.explode, self.fits, self.validations, self.stop_in_validation = explode, fits, 0, stop_in_validation

    def training_loss(self, index: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        if len(index) > self.fits:
            raise torch.OutOfMemoryError
        x = self.x[index]
        loss = (self.model(x + 0.1 * normal_like(x)) - x.sum(1, keepdim=True)).square().mean()
        if self.calls in self.explode:
            return loss * 1e30 * 1e30  # finite itself for a moment, its gradient is not
        return loss * math.nan if self.calls in self.poison else loss

    def validation_loss(self) -> float:
        self.validations += 1
        if self.validations == self.stop_in_validation:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)  # a long validation: a batch system would not wait for its end
            raise AssertionError("the validation went on")
        difference: torch.Tensor = self.model(self.x) - self.x.sum(1, keepdim=True)
        return difference.square().mean().item()


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), Dropout(0.1), nn.Linear(16, 1))


def _fit(directory: Path | None, *, resume: bool = False, **stop: int) -> tuple[nn.Module, list[dict[str, float]]]:
    model = _network()
    objective = _Regression(model, **stop)  # type: ignore[arg-type]
    result = fit(model, objective, 200, SETTINGS, seed=9, directory=directory, resume=resume)
    return model, result.history


def _same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    model, history = _fit(tmp_path)
    losses = [entry["validation_loss"] for entry in history]
    assert len(losses) == 6
    assert losses[-1] < 0.3 * losses[0]
    assert _Regression(model).validation_loss() == min(losses)
    assert not model.training
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == history


@pytest.mark.parametrize("stop_at", [1, 3, 4, 10, 23])
def test_a_stopped_training_resumes_bit_identically(tmp_path: Path, stop_at: int) -> None:
    whole, history = _fit(tmp_path / "whole")
    with pytest.raises(Interrupted, match="--resume") as stopped:
        _fit(tmp_path / "cut", stop_at=stop_at)
    assert stopped.value.exit_code == 130
    resumed, again = _fit(tmp_path / "cut", resume=True)
    assert _same(whole, resumed)
    drop = {"seconds"}
    assert [{k: v for k, v in e.items() if k not in drop} for e in history] == [
        {k: v for k, v in e.items() if k not in drop} for e in again
    ]


def test_a_finished_training_resumes_at_once(tmp_path: Path) -> None:
    first, _ = _fit(tmp_path)
    model = _network()
    objective = _Regression(model)
    fit(model, objective, 200, SETTINGS, seed=9, directory=tmp_path, resume=True)
    assert objective.calls == 0
    assert _same(first, model)


def test_the_callers_generator_is_left_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests themselves run in the background
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    _fit(tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_runs_outside_the_main_thread() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(len(_fit(None)[1])))
    thread.start()
    thread.join()
    assert results == [6]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path)
    model = _network()
    other = SETTINGS.model_copy(update={"epochs": 7})
    with pytest.raises(TrainingError, match="another training"):
        fit(model, _Regression(model), 200, other, seed=9, directory=tmp_path, resume=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    _fit(tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="cannot be read"):
        _fit(tmp_path, resume=True)


def test_a_bad_batch_is_skipped_and_counted() -> None:
    model = _network()
    result = fit(model, _Regression(model, poison=(2, 6)), 200, SETTINGS, seed=9)
    assert [entry["skipped"] for entry in result.history] == [1, 1, 0, 0, 0, 0]
    assert all(math.isfinite(entry["train_loss"]) for entry in result.history)


def test_exploding_gradients_are_skipped_and_said() -> None:
    model, stream = _network(), io.StringIO()
    result = fit(model, _Regression(model, explode=(6,)), 200, SETTINGS, seed=9, reporter=PlainReporter(stream))
    assert [entry["skipped"] for entry in result.history] == [0, 1, 0, 0, 0, 0]
    assert result.best_loss < 0.5 * result.history[0]["validation_loss"]
    assert "step 5: no finite gradient, skipped (loss inf, epoch 2)" in stream.getvalue()
    assert "epoch 2: 1 of 4 steps were skipped" in stream.getvalue()


def test_bad_batches_in_a_row_are_counted_across_epochs(tmp_path: Path) -> None:
    """Three are survived, a good one between them counts; four in a row are not, whatever their epoch."""
    model = _network()
    fit(model, _Regression(model, poison=(2, 3, 4, 6, 7, 8)), 200, SETTINGS, seed=9)
    model = _network()
    with pytest.raises(TrainingError, match="in a row") as caught:
        fit(model, _Regression(model, poison=(3, 4, 5, 6)), 200, SETTINGS, seed=9, directory=tmp_path)
    assert caught.value.where == "step 5"
    assert caught.value.remedy is not None
    assert "learning rate" in caught.value.remedy


@pytest.mark.parametrize("fits", [49, 20, 1])
def test_batches_that_do_not_fit_into_memory_are_divided(tmp_path: Path, fits: int) -> None:
    expected, history = _fit(tmp_path / "whole")
    with pytest.warns(TrainingWarning, match="memory was short"):
        found, again = _fit(tmp_path / "parts", fits=fits)
    for a, b in zip(found.state_dict().values(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for one, other in zip(again, history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
        assert one["skipped"] == 0


@pytest.mark.filterwarnings("ignore::hepflows.errors.TrainingWarning")
def test_an_event_that_does_not_fit_into_memory_is_an_error() -> None:
    model = _network()
    with pytest.raises(TrainingError, match="not even one event fits into memory"):
        fit(model, _Regression(model, fits=0), 200, SETTINGS, seed=9)


def test_what_says_that_memory_is_short() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_stop_in_a_long_validation_is_at_once(tmp_path: Path, stop: int) -> None:
    whole, history = _fit(tmp_path / "whole")
    with pytest.raises(Interrupted, match="--resume"):
        _fit(tmp_path / "cut", stop_in_validation=stop)
    resumed, again = _fit(tmp_path / "cut", resume=True)
    assert _same(whole, resumed)
    assert [entry["validation_loss"] for entry in again] == [entry["validation_loss"] for entry in history]


def test_nothing_but_bad_batches_is_an_error() -> None:
    model = _network()
    with pytest.raises(TrainingError, match="finite gradient"):
        fit(model, _Regression(model, poison=tuple(range(100))), 200, SETTINGS, seed=9)


def test_patience_stops_early() -> None:
    model = _network()
    settings = SETTINGS.model_copy(update={"epochs": 200, "patience": 3, "learning_rate": 0.2, "schedule": "constant"})
    result = fit(model, _Regression(model), 200, settings, seed=9)
    assert len(result.history) == result.best_epoch + 3 < 200


def test_no_events_is_an_error() -> None:
    model = _network()
    with pytest.raises(TrainingError, match="no training events"):
        fit(model, _Regression(model), 0, SETTINGS, seed=1)


@pytest.mark.parametrize(
    ("schedule", "first", "last"), [("constant", 1.0, 1.0), ("cosine", 1.0, 0.0), ("one-cycle", 0.04, 0.0)]
)
def test_schedules(schedule: str, first: float, last: float) -> None:
    settings = TrainingConfig.model_validate({"schedule": schedule, "learning_rate": 1.0})
    rates = [learning_rate(settings, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(first, abs=1e-6)
    assert rates[-1] == pytest.approx(last, abs=1e-4)
    assert max(rates) == pytest.approx(1.0)
    if schedule == "one-cycle":
        assert rates.index(max(rates)) == 300


def test_maximum_likelihood_finds_the_moments() -> None:
    """A conditional Gaussian fitted to x = 3 + 2 c + 0.5 noise has that mean and width."""
    generator = torch.Generator().manual_seed(2)
    c = torch.randn(4000, 1, generator=generator)
    x = 3 + 2 * c + 0.5 * torch.randn(4000, 1, generator=generator)
    flow = ConditionalFlow([], ConditionalNormal(1, 1, width=32))
    objective = MaximumLikelihood(flow, lambda i: (x[:3000][i], c[:3000][i]), lambda: (x[3000:], c[3000:]))
    result = fit(flow, objective, 3000, TrainingConfig(epochs=15, batch_size=100, learning_rate=0.01), seed=1)
    with torch.no_grad():
        mean, log_std = flow.base.network(torch.tensor([[-1.0], [0.0], [1.0]])).chunk(2, dim=-1)  # type: ignore[operator]
    torch.testing.assert_close(mean[:, 0], torch.tensor([1.0, 3.0, 5.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(log_std.exp()[:, 0], torch.full((3,), 0.5), atol=0.06, rtol=0)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert result.best_loss == pytest.approx(entropy, abs=0.05)
