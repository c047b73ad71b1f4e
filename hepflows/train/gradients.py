"""The gradient of a batch, whose parts are evaluated on several processes or one after the other.

Where a batch does not fit into memory, parts of half the size are tried, again and again; their gradients are summed,
so that the step is that of the whole batch.
"""

from __future__ import annotations

import gc
import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch

from hepflows.draws import part_of_batch
from hepflows.errors import TrainingError, TrainingWarning
from hepflows.memory_errors import is_out_of_memory
from hepflows.precision import MatmulPrecision, matmul_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from hepflows.train.distributed import Processes
    from hepflows.train.objectives import Objective


class Evaluated(NamedTuple):
    """What the processes know of a batch; the gradients are in the parameters.

    Attributes:
        loss: of the whole batch.
        stop: whether any of the processes was asked to stop.
    """

    loss: float
    stop: bool


class BatchGradient:
    """Gives parameters the gradient of a batch.

    Args:
        objective: gives the losses, means over events.
        parameters: that are trained.
        processes: that share the work.
        precision: of matrix products.
    """

    def __init__(
        self,
        objective: Objective,
        parameters: Sequence[nn.Parameter],
        processes: Processes,
        precision: MatmulPrecision,
    ) -> None:
        self._objective, self._parameters = objective, parameters
        self._processes, self._precision = processes, precision
        self._most: int | None = None

    def evaluate(self, rows: Tensor, *, seed: int, stop: Callable[[], bool]) -> Evaluated:
        """Loss and gradient of the batch of these events.

        Args:
            rows: indices of the events, the same on all processes.
            seed: of everything random in the batch.
            stop: says whether this process was asked to stop.

        Raises:
            LostProcessError: another process is gone.
            TrainingError: not even one event fits into memory.
        """
        largest = -(-len(rows) // self._processes.size)
        while True:
            size = largest if self._most is None else min(self._most, largest)
            loss, short = self._accumulate(rows, size, seed)
            used = [float(parameter.grad is not None) for parameter in self._parameters]
            total, stopped, lacking, *anywhere = self._processes.sums([loss, stop(), short is not None, *used])
            if not lacking:
                break
            self._most = self._halved(size, short)
        chosen = [parameter for parameter, count in zip(self._parameters, anywhere, strict=True) if count]
        for parameter in chosen:
            if parameter.grad is None:  # this process had no event of the batch
                parameter.grad = torch.zeros_like(parameter)
        self._processes.sum_tensors([parameter.grad for parameter in chosen if parameter.grad is not None])
        return Evaluated(total, stopped > 0)

    def _accumulate(self, rows: Tensor, size: int, seed: int) -> tuple[float, Exception | None]:
        """Sum loss and gradients of this process' part, in pieces; or say that memory is short."""
        for parameter in self._parameters:
            parameter.grad = None
        first, last = self._processes.part(len(rows))
        total = 0.0
        try:
            for start in range(first, last, size):
                total += self._add_piece(rows, start, min(start + size, last), seed)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Frames of the traceback hold what the piece had computed.
            return math.nan, error.with_traceback(None)
        return total, None

    def _add_piece(self, rows: Tensor, start: int, stop: int, seed: int) -> float:
        share = (stop - start) / len(rows)
        torch.manual_seed(seed)
        with matmul_precision(self._precision), part_of_batch(rows, start, stop):
            loss = self._objective.training_loss(rows[start:stop])
        (loss * share).backward()
        return float(loss.detach()) * share

    def _halved(self, size: int, error: Exception | None) -> int:
        for parameter in self._parameters:
            parameter.grad = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise TrainingError(
                "not even one event fits into memory",
                found="".join(str(error).splitlines()[:1]) or type(error).__name__,
                remedy="use a smaller network, or a device with more memory",
            ) from error
        half = (size + 1) // 2
        if self._processes.is_first:
            warnings.warn(
                f"memory was short: batches are evaluated in parts of {half} events from now on, with the same result",
                TrainingWarning,
                stacklevel=2,
            )
        return half
