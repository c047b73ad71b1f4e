from __future__ import annotations

import errno
import io
import re

import pytest
from rich.console import Console

from hepflows.train.progress import PlainReporter, RichReporter, SilentReporter, reporter_for


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_plain_lines_come_at_most_every_few_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, interval_seconds=5, clock=clock).stage("fit", total=100, unit="epochs") as stage:
        for epoch in range(100):
            clock.seconds += 0.5
            stage.advance(loss=1 / (epoch + 1))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "fit: 10/100 epochs, 2 epochs/s, loss 0.1, 0:05 elapsed, 0:45 left"
    assert lines[-1] == "fit: 100/100 epochs, 2 epochs/s, loss 0.01, 0:50 elapsed"


def test_plain_reports_how_far_a_failed_stage_came() -> None:
    stream, clock = io.StringIO(), Clock()

    def interrupted() -> None:
        with PlainReporter(stream, clock=clock).stage("fit", total=9) as stage:
            clock.seconds += 3700
            stage.advance(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "fit: 3/9 batches" in stream.getvalue()
    assert "1:01:40 elapsed, 2:03:20 left" in stream.getvalue()


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "no space left")

    reporter = PlainReporter(Full(), interval_seconds=0.0)
    reporter.message("begin")
    with reporter.stage("training", total=2) as stage:
        stage.advance()
        stage.advance()


def test_units_done_before_do_not_count_for_the_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock=clock).stage("fit", total=100, done=90) as stage:
        clock.seconds += 10
        stage.advance(5)
    assert "95/100 batches, 0.5 batches/s" in stream.getvalue()
    assert "0:10 left" in stream.getvalue()


def test_plain_stage_without_time_has_no_rate() -> None:
    stream = io.StringIO()
    with PlainReporter(stream, clock=Clock()).stage("fit", total=1) as stage:
        stage.advance()
    assert stream.getvalue() == "fit: 1/1 batches, 0:00 elapsed\n"


def test_rich_bar_shows_count_rate_values_and_times() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    reporter = RichReporter(console)
    with reporter.stage("Flow I", total=4, unit="epochs") as stage:
        stage.advance(4, loss=0.25)
        reporter.message("saved [checkpoint]")
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "saved [checkpoint]" in text
    last = text.splitlines()[-1]
    for part in ("Flow I", "4/4", "epochs/s", "loss 0.25", "left"):
        assert part in last


def test_terminals_get_bars_and_files_get_lines() -> None:
    assert isinstance(reporter_for(Console(file=io.StringIO(), force_terminal=True)), RichReporter)
    assert isinstance(reporter_for(Console(file=io.StringIO())), PlainReporter)


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    with reporter.stage("fit", total=3) as stage:
        stage.advance(loss=1.0)
    reporter.message("done")
    assert capsys.readouterr() == ("", "")
