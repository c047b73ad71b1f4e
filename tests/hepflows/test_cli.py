from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hepflows import __version__, cli, generic_names, registry
from hepflows.artefact import read_document
from hepflows.cli import main
from hepflows.errors import HepflowsError, Interrupted

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hepflows", *map(str, arguments)], capture_output=True, text=True, check=False
    )


class TestProcess:
    def test_version(self) -> None:
        result = run("--version")
        assert (result.returncode, result.stdout.strip()) == (0, __version__)

    def test_help_lists_the_commands(self) -> None:
        result = run("--help")
        assert result.returncode == 0
        for command in ("inspect", "train", "distill", "generate", "export", "validate", "demo", "benchmark"):
            assert f" {command} " in result.stdout
        assert result.stderr == ""

    @pytest.mark.parametrize("command", ["inspect", "train", "distill", "generate", "demo", "benchmark"])
    def test_every_command_has_help(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([command, "--help"]) == 0
        assert f"Usage: hepflows {command}" in capsys.readouterr().out

    def test_bad_input_gives_a_message_and_no_traceback(self, tmp_path: Path) -> None:
        result = run("inspect", tmp_path / "none.h5")
        assert result.returncode == 2
        assert result.stdout == ""
        assert "none.h5: input file does not exist" in result.stderr
        assert "Traceback" not in result.stderr

    def test_debug_shows_the_traceback(self, tmp_path: Path) -> None:
        result = run("--debug", "inspect", tmp_path / "none.h5")
        assert result.returncode == 2
        assert "Traceback" in result.stderr

    def test_a_reader_that_goes_away_is_no_error(self) -> None:
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as closed:
            process = subprocess.run(
                [sys.executable, "-m", "hepflows", "--help"],
                stdout=closed,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert process.returncode == 0
        assert process.stderr == ""


class TestExitCodes:
    def command(self, monkeypatch: pytest.MonkeyPatch, error: BaseException | int | None) -> None:
        def fail() -> int | None:
            if isinstance(error, BaseException):
                raise error
            return error

        monkeypatch.setattr(cli, "BUILT_IN", {"fail": "toys:fail"})
        monkeypatch.setattr(registry.Plugin, "load", lambda _: fail)

    @pytest.mark.parametrize(
        ("outcome", "code"),
        [
            (None, 0),
            (1, 1),
            (HepflowsError("wrong"), 2),
            (OSError(28, "No space left on device"), 2),
            (PermissionError(13, "Permission denied"), 2),
            (ValueError("bug"), 3),
            (OSError(5, "Input/output error"), 3),
            (KeyboardInterrupt(), 130),
            (Interrupted("stopped", remedy="--resume"), 130),
        ],
    )
    def test_codes(self, monkeypatch, tmp_path: Path, outcome: BaseException | int | None, code: int) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        self.command(monkeypatch, outcome)
        assert main(["fail"]) == code

    def test_internal_errors_say_where_the_traceback_is(self, monkeypatch, tmp_path: Path, capsys) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.delenv("HEPFLOWS_DEBUG", raising=False)
        self.command(monkeypatch, ValueError("bug"))
        main(["fail"])
        shown = capsys.readouterr().err
        (written,) = tmp_path.glob("hepflows-traceback-*.txt")
        assert "internal error: ValueError: bug" in shown
        assert str(written) in shown
        assert "Traceback (most recent call last)" not in shown
        assert "Traceback (most recent call last)" in written.read_text()

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")])
    def test_want_of_memory_is_no_fault_of_the_program(self, monkeypatch, capsys, error: Exception) -> None:
        self.command(monkeypatch, error)
        assert main(["fail"]) == 2
        shown = capsys.readouterr().err
        assert "error: memory is short" in shown
        assert "fewer events" in shown

    def test_debug_variable_shows_it_instead(self, monkeypatch, tmp_path: Path, capsys) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.setenv("HEPFLOWS_DEBUG", "1")
        self.command(monkeypatch, ValueError("bug"))
        assert main(["fail"]) == 3
        assert "Traceback (most recent call last)" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("installed")
class TestUse:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["trian"], 'Did you mean "train"'),
            (["train", "x.toml", "--data", "d"], "--out"),
            (["train", "x.toml", "--data", "d", "--out", "o", "--resum"], "Did you mean --resume"),
            (["train", "x.toml", "--data", "d", "--out", "o", "--threads", "two"], "whole number"),
            (["generate", "x", "--seed", "1", "--out", "y", "--out-of-range", "guess"], "out-of-range"),
        ],
    )
    def test_wrong_arguments(self, arguments: list[str], text: str, capsys) -> None:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert text.lower() in error.lower()
        assert "Traceback" not in error

    def test_commands_of_other_packages(self, installed, capsys) -> None:
        def gate(*, limit: float = 1.0) -> int:
            """Check a limit."""
            return 0 if limit > 1 else 1

        installed.add("hepflows.commands", "gate", gate)
        assert main(["gate"]) == 1
        assert main(["gate", "--limit", "2"]) == 0
        main(["--help"])
        assert "Check a limit." in capsys.readouterr().out

    def test_a_broken_command_hides_no_other(self, installed, capsys) -> None:
        installed.add("hepflows.commands", "bad", ImportError("no libbad.so"), distribution="badpack")
        assert main(["--help"]) == 0
        assert "cannot be loaded from badpack 1.0" in capsys.readouterr().out
        assert main(["bad", "--any", "thing"]) == 2
        assert "ImportError: no libbad.so" in capsys.readouterr().err

    def test_a_plug_in_cannot_replace_a_built_in_command(self, installed, capsys) -> None:
        installed.add("hepflows.commands", "train", lambda: 0, distribution="thief")
        assert main(["--help"]) == 2
        assert "thief 1.0: plug-in 'train' has the name of a built-in command" in capsys.readouterr().err

    def test_overwritten_packages_are_reported(self, monkeypatch, capsys) -> None:
        problem = registry.PluginError("the package 'exporters' of hepflows was overwritten")
        monkeypatch.setattr(generic_names, "overwritten_packages", lambda: (problem,))
        assert main(["--version"]) == 0
        assert "warning: the package 'exporters' of hepflows was overwritten" in capsys.readouterr().err

    def test_inspect_file(self, toy_file: Path, capsys) -> None:
        assert main(["inspect", str(toy_file)]) == 0
        shown = capsys.readouterr().out
        assert "events" in shown
        assert "1000" in shown
        assert "warning: values have no unit" in shown
        assert main(["inspect", str(toy_file), "--task", "tiy"]) == 2
        assert "did you mean toy?" in capsys.readouterr().err

    def test_inspect_artefact(self, trained: Path, capsys) -> None:
        assert main(["inspect", str(trained / "teacher")]) == 0
        shown = capsys.readouterr().out
        assert "1 to 100 GeV" in shown
        assert "1 numbers in 1 tensors" in shown
        assert main(["inspect", str(trained)]) == 2
        assert "student, teacher" in capsys.readouterr().err

    def test_train_writes_artefacts_and_overrides_count(self, toy_config, toy_file, tmp_path: Path, capsys) -> None:
        out = tmp_path / "run"
        arguments = ["train", str(toy_config), "--data", str(toy_file), "--out", str(out)]
        code = main([*arguments, "--set", "teacher.blocks=5", "--set", "name=x", "--device", "cpu", "--threads", "1"])
        assert code == 0
        document = read_document(out / "teacher")
        assert document.config["name"] == "x"
        assert document.config["teacher"] == {"blocks": 5, "rates": [1.0, 0.5], "kind": "maf"}
        assert document.provenance == {"threads": 1, "device": "cpu"}
        assert read_document(out / "student").kind == "student"
        shown = capsys.readouterr().err
        assert "teacher: 2/2 epochs" in shown
        assert str(out / "student") in shown

        assert main(arguments) == 2
        assert "--resume continues it, --force starts anew" in capsys.readouterr().err
        assert main([*arguments, "--force"]) == 0
        assert main([*arguments, "--force", "--resume"]) == 2

    def test_train_refuses_before_working(self, toy_config, toy_file, tmp_path: Path, capsys) -> None:
        out = tmp_path / "run"
        for arguments, text in (
            (["--set", "teacher.bloks=5"], "--set teacher.bloks: unexpected key, did you mean blocks?"),
            (["--device", "gpu"], "--device: not a device"),
            (["--threads", "0"], "--threads: not a number of threads"),
            (["--resume"], "nothing to resume"),
        ):
            code = main(["train", str(toy_config), "--data", str(toy_file), "--out", str(out), *arguments])
            assert (code, text in capsys.readouterr().err) == (2, True)
            assert not out.exists()
        assert main(["train", str(toy_config), "--data", str(tmp_path / "none"), "--out", str(out)]) == 2
        assert "data file does not exist" in capsys.readouterr().err

    def test_distill_takes_the_configuration_of_the_teacher(self, trained: Path, toy_file, tmp_path) -> None:
        out = tmp_path / "fast"
        arguments = ["distill", str(trained / "teacher"), "--data", str(toy_file), "--out", str(out)]
        assert main([*arguments, "--set", "student.blocks=7"]) == 0
        config = read_document(out).config
        assert isinstance(config["student"], dict)
        assert config["student"]["blocks"] == 7
        assert config["teacher"] == {"blocks": 2, "rates": [1.0, 0.5], "kind": "maf"}

    def test_distill_refuses_a_teacher_of_another_task(self, trained: Path, toy_file, tmp_path, capsys) -> None:
        path = trained / "teacher" / "generator.json"
        path.write_text(path.read_text().replace('"kind": "teacher"', '"kind": "tutor"'))
        code = main(["distill", str(path.parent), "--data", str(toy_file), "--out", str(tmp_path / "fast")])
        assert code == 2
        assert "edited after it was written" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which is always full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["inspect", "none.h5"], 2), (["generate", "--model", "eplus", "-n", "2", "--out", "x.h5"], 0)],
)
def test_the_exit_code_stays_if_nobody_can_read_the_messages(tmp_path: Path, arguments: list[str], code: int) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([sys.executable, "-m", "hepflows", *arguments], stderr=full, cwd=tmp_path, check=False)
    assert done.returncode == code


def test_a_plug_in_that_exits_with_words_has_failed(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def app(*_args: object, **_more: object) -> None:
        sys.exit("the licence server is down")

    monkeypatch.setattr(cli, "build_app", lambda _tokens: app)
    assert main(["anything"]) == 3
    assert "the licence server is down" in capsys.readouterr().err
