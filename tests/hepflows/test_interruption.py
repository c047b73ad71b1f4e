"""Signals are obeyed, also where an exception would be lost."""

from __future__ import annotations

import io
import os
import signal
import sys

import h5py
import pytest

from hepflows.guarded_file import GuardedFile
from hepflows.interruption import interruptible, obey
from hepflows.train.progress import PlainReporter


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once(number):
    with interruptible(), pytest.raises(KeyboardInterrupt):
        send(number)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_progress_makes_up_for_an_exception_that_was_lost(monkeypatch):
    class Careless:
        def __del__(self):
            send()

    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: lost.append(event.exc_type))
    with PlainReporter(io.StringIO()).stage("writing", total=2) as stage, interruptible():
        stage.advance()
        careless = Careless()
        del careless
        assert lost == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            stage.advance()
    obey()  # nothing is remembered outside


def test_a_second_sigterm_leaves_the_cleaning_up_alone_and_ctrl_c_does_not():
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            send()
        send()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


class _Signalling:
    """The system's file, which sends a signal while HDF5 calls Python."""

    def __init__(self, raw):
        self.raw, self.sent = raw, 0

    def __getattr__(self, name):
        return getattr(self.raw, name)

    def write(self, data):
        if not self.sent:
            self.sent = 1
            send()
        return self.raw.write(data)


def test_hdf5_writes_to_the_end_and_the_next_step_stops(tmp_path):
    with interruptible():
        with GuardedFile(tmp_path / "whole.h5") as guarded:
            guarded._raw = signalling = _Signalling(guarded._raw)
            with h5py.File(guarded, "w") as file:
                file["x"] = [1.0, 2.0]
        assert signalling.sent
        with pytest.raises(KeyboardInterrupt):
            obey()
    with h5py.File(tmp_path / "whole.h5") as file:
        assert list(file["x"]) == [1.0, 2.0]
