"""Training on several processes, GPUs or machines: the one place that knows of it.

`setup` joins the processes that ``torchrun`` started. Everything else asks `current` which of them this one is.
Without ``torchrun`` it is the only one, and nothing here costs anything.

Each process evaluates its part of every batch, and the gradients of the parts are summed before each step. This is
done here and not by `torch.nn.parallel.DistributedDataParallel`: that averages over processes, which is the gradient
of the whole batch only if all parts have the same size; it needs one event a process at least; and it hooks into the
call of one module, while objectives call flows in their own ways and evaluate a batch piece by piece where memory is
short. What would be gained, communication during the backward pass, is little beside steps of these sizes.

Numbers in CPU memory travel by gloo, those on GPUs by NCCL.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, NoReturn, TypeVar

from hepflows.errors import ConfigError, LostProcessError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

_PATIENCE_SECONDS = 3  # torchrun ends all processes as soon as one has ended
_BUCKET = 2**24  # numbers that are summed at once


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Attributes:
        rank: number of this one.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def part(self, count: int) -> tuple[int, int]:
        """First event, and the one behind the last, of this process in a batch of `count`; sizes differ by one."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def sums(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, the same on each.

        Raises:
            LostProcessError: another process is gone.
        """
        if self.size == 1:
            return list(values)
        import torch
        import torch.distributed as dist

        total = torch.tensor(values, dtype=torch.float64)
        with _peers_needed():
            dist.all_reduce(total)
        return [float(value) for value in total]

    def sum_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, the same on each."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            with _peers_needed():
                dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on the first process, on all; only that one calls it.

        Raises:
            LostProcessError: the first process is gone, for `make` failed there.
        """
        if self.size == 1:
            return make()
        import torch
        import torch.distributed as dist

        box = [make() if self.is_first else None]
        with _peers_needed():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]  # None only if make returns it

    def on_first(self, action: Callable[[], object]) -> None:
        """Do something on the first process, while the others wait."""

        def act() -> None:
            action()

        self.from_first(act)


def current() -> Processes:
    """The processes that this one belongs to."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return Processes()
    return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())


def own(items: Iterable[T]) -> Iterator[T]:
    """The items that this process evaluates: each is some process'."""
    processes = current()
    return islice(items, processes.rank, None, processes.size)


def mean(parts: Sequence[Tensor]) -> float:
    """Mean of all numbers in the parts of all processes, in float64."""
    import torch

    values = torch.cat(list(parts)).double() if parts else torch.zeros(0, dtype=torch.float64)
    processes = current()
    if processes.size == 1:
        return float(values.mean())
    total, count = processes.sums([float(values.sum()), len(values)])
    return total / count


def is_launched() -> bool:
    """Whether ``torchrun`` started this process, as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def setup(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started; without it there is nothing to join.

    Of several processes that fail the first one reports; the others leave silently with its exit code. A script that
    ``torchrun`` starts should end with `leave`.

    Args:
        device: ``cpu``, or ``cuda``, of which each process takes its own.

    Yields:
        The device of this process.

    Raises:
        ConfigError: the device is one GPU for all processes.
        MissingDependencyError: there are fewer GPUs than processes on this machine.
    """
    if not is_launched():
        yield device
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    device = _own_device(device)
    store, rank, size = next(iter(rendezvous("env://")))
    with warnings.catch_warnings():
        if rank > 0:
            warnings.simplefilter("ignore")  # the first process says the same
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo", store=store, rank=rank, world_size=size
        )
        try:
            yield device
            Processes(rank, size).on_first(lambda: None)
        except BaseException as error:
            if _is_told(store):
                raise SystemExit(_exit_code(error)) from error
            raise
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End this process now, after what was registered for the end.

    Threads of gloo may hold the last reference to a tensor. One that lets go of it while the interpreter is taken
    down is ended by Python within C++, which aborts the process: torchrun would report a failure, though all was done.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing ends its processes
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _own_device(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    if ":" in device:
        raise ConfigError(
            "all processes would share one GPU",
            where="--device",
            expected="cuda or cpu under torchrun",
            found=device,
            remedy="--device cuda gives each process a GPU of its own",
        )
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= count:
        raise MissingDependencyError(
            "more processes than GPUs on this machine",
            where="torchrun",
            expected=f"--nproc-per-node of at most {count}",
            found=os.environ.get("LOCAL_WORLD_SIZE"),
            remedy="start fewer processes, or train with --device cpu",
        )
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def _is_told(store: Store) -> bool:
    """Whether another process reports a failure, and has had time to do so; else this one has to report its own."""
    try:
        number = store.add("hepflows/failed", 1)
    except RuntimeError:  # the store is gone with the machine that held it
        return False
    if number == 1:
        atexit.register(store.set, "hepflows/told", "")
        return False
    with suppress(RuntimeError):
        store.wait(["hepflows/told"], timedelta(seconds=_PATIENCE_SECONDS))
    return True


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    code = getattr(error, "exit_code", 3)
    return code if isinstance(code, int) else 3


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, together of limited size."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > _BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def _peers_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this training has ended",
            found=str(error).splitlines()[0],
            remedy="look for its message; without one it was killed, for lack of memory perhaps",
        ) from error
