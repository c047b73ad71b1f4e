from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from hepflows.cli import main
from hepflows.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Generate = Callable[..., int]

IN_SHARDS = ("--format", "toy", "--shard-size")


def shard_files(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in directory.glob("events-*.toy")}


@pytest.mark.parametrize("size", [256, 1024, 65536])
def test_events_do_not_depend_on_the_size_of_shards(
    generate: Generate, whole: str, listed, tmp_path: Path, size: int
) -> None:
    assert generate("prod", *IN_SHARDS, size) == 0
    assert listed() == json.loads(whole)
    assert generate("merged.toy", "--shard-size", size) == 0
    assert (tmp_path / "merged.toy").read_text() == whole
    assert not list(tmp_path.glob(".merged*")), "the shards of a file go when it is there"
    assert main(["merge", "prod", "--out", "again.toy"]) == 0
    assert (tmp_path / "again.toy").read_text() == whole


def test_manifest_tells_how_and_of_what_events_were_made(generate: Generate, tmp_path: Path, trained: Path) -> None:
    assert generate("prod", *IN_SHARDS, 1024) == 0
    manifest = json.loads((tmp_path / "prod" / "manifest.json").read_text())
    document = json.loads((trained / "teacher" / "generator.json").read_text())
    request = manifest["request"]
    assert request["generator"] == {"name": "teacher", "task": "toy", "sha256": document["document_sha256"]}
    assert (request["seed"], request["n_events"], request["shard_size"], request["suffix"]) == (7, 3000, 1024, "toy")
    assert request["ranges"] == {"incident_energy_gev": [1.0, 100.0]}
    assert [(shard["first"], shard["last"]) for shard in manifest["shards"]] == [(0, 1024), (1024, 2048), (2048, 3000)]
    for shard in manifest["shards"]:
        file = tmp_path / "prod" / shard["file"]
        assert (shard["n_bytes"], shard["sha256"]) == (file.stat().st_size, sha256_of(file))
        assert {"torch", "numpy", "numba", "hepflows", "python", "processor"} == shard["made_with"].keys()
    assert manifest["n_events"] == 3000


def test_a_model_by_name(generate: Generate, whole: str, listed, tmp_path: Path, trained: Path, installed) -> None:
    installed.add("hepflows.models", "toys", lambda: trained)
    tokens = ("--model", "teacher", "--energy", "1..100GeV", "-n", 3000, "--seed", 7, "--out", "prod", *IN_SHARDS, 512)
    assert main(["generate", *map(str, tokens)]) == 0
    assert listed() == json.loads(whole)
    assert json.loads((tmp_path / "prod" / "production.json").read_text())["generator"]["name"] == "teacher"


def test_a_stopped_production_goes_on_where_it_was(
    generate: Generate, whole: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    stop_after(monkeypatch, 4)
    assert generate("out.toy", "--resume", "--shard-size", 512) == 130
    shown = capsys.readouterr().err
    assert "2048 of 3000 events are in finished shards" in shown
    assert "--resume continues it" in shown
    assert not (tmp_path / "out.toy").exists()
    kept = shard_files(tmp_path / ".out.toy.shards")
    assert len(kept) == 4
    assert generate("out.toy", "--shard-size", 512) == 2, "neither --resume nor --force"
    assert "a production is there" in capsys.readouterr().err
    made = spy(monkeypatch)
    assert generate("out.toy", "--resume", "--shard-size", 512) == 0
    assert made == [(2048, 2560), (2560, 3000)]
    assert (tmp_path / "out.toy").read_text() == whole
    assert not (tmp_path / ".out.toy.shards").exists()


def test_nothing_is_kept_of_a_production_stopped_in_its_first_shard(
    generate: Generate, tmp_path: Path, monkeypatch
) -> None:
    stop_after(monkeypatch, 0)
    before = sorted(tmp_path.iterdir())
    assert generate("new/prod", *IN_SHARDS, 512) == 130
    assert sorted(tmp_path.iterdir()) == before


def test_a_signal_of_a_batch_system_stops_it(generate: Generate, tmp_path: Path, monkeypatch, capsys) -> None:
    stop_after(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert generate("prod", *IN_SHARDS, 512) == 130
    assert "512 of 3000 events" in capsys.readouterr().err
    stop_after(monkeypatch, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert generate("one.toy") == 130
    assert not list(tmp_path.glob("*one.toy*")), "neither the file nor a temporary one"


def test_unfinished_and_damaged_shards_are_made_again(generate: Generate, whole: str, listed, tmp_path: Path) -> None:
    """Whatever a crash or a user leaves: a file without record, a record without file, a cut file, a temporary one."""
    assert generate("prod", *IN_SHARDS, 512) == 0
    folder = tmp_path / "prod"
    files = sorted(folder.glob("events-*"))
    (folder / "records" / f"{files[0].name}.json").unlink()
    files[0].write_text("[")
    files[1].unlink()
    files[2].write_text(files[2].read_text()[:-9])
    (folder / f".{files[3].name}.0123abcd.tmp").write_text("[[1,")
    files[3].unlink()
    (folder / f".{files[4].name}.0123abcd.tmp").write_text("of another job that is at work")
    untouched = {file.name: file.stat().st_mtime_ns for file in files[4:]}
    assert main(["inspect", "prod"]) == 2
    assert generate("prod", *IN_SHARDS, 512, "--resume") == 0
    assert listed() == json.loads(whole)
    assert untouched.items() <= shard_files(folder).items()
    assert [path.name for path in folder.glob(".*")] == [f".{files[4].name}.0123abcd.tmp"]
    assert main(["inspect", "prod"]) == 0


def test_a_finished_production_is_not_made_again(generate: Generate, tmp_path: Path) -> None:
    assert generate("prod", *IN_SHARDS, 512) == 0
    before = shard_files(tmp_path / "prod")
    assert generate("prod", *IN_SHARDS, 512, "--resume") == 0
    assert shard_files(tmp_path / "prod") == before
    assert generate("prod", *IN_SHARDS, 1024, "--force") == 0
    assert len(shard_files(tmp_path / "prod")) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--seed", 8), ("seed 8", "seed 7")),
        (("-n", 3001), ("n_events 3001",)),
        (("--shard-size", 256), ("shard_size 256", "shard_size 512")),
        (("--energy", "2..100GeV"), ("ranges",)),
        (("--out-of-range", "clamp"), ("out_of_range clamp",)),
    ],
)
def test_another_request_cannot_continue_it(
    generate: Generate, tmp_path: Path, trained: Path, capsys, change, words
) -> None:
    options = {"--energy": "1..100GeV", "-n": 3000, "--seed": 7, "--shard-size": 512, "--format": "toy"}
    assert generate("prod", *IN_SHARDS, 512) == 0
    options |= dict([change])
    tokens = [
        "generate",
        trained / "teacher",
        "--out",
        "prod",
        "--resume",
        *(x for pair in options.items() for x in pair),
    ]
    assert main([str(token) for token in tokens]) == 2
    shown = capsys.readouterr().err
    for word in ("the production that is there is another one", *words):
        assert word in shown


class TestShares:
    def test_jobs_in_any_order_fill_one_directory(self, generate, whole, listed, tmp_path: Path, capsys) -> None:
        for k in (3, 1, 4):
            assert generate("prod", *IN_SHARDS, 256, "--shard", f"{k}/4", "--resume") == 0
        assert "other shares are missing" in capsys.readouterr().err
        assert not (tmp_path / "prod" / "manifest.json").exists()
        for command in (["merge", "prod", "--out", "x.toy"], ["inspect", "prod"]):
            assert main(command) == 2
            shown = capsys.readouterr().err
            assert "3 of 12 shards are missing" in shown
            assert "events-000000000768-000000001024.toy" in shown
        assert not (tmp_path / "x.toy").exists()
        assert generate("prod", *IN_SHARDS, 256, "--shard", "2/4", "--resume") == 0
        assert listed() == json.loads(whole), "the last job lists all shards"

    def test_directories_of_jobs_without_a_shared_disk_can_be_put_together(
        self, generate, whole, tmp_path: Path
    ) -> None:
        for k in (1, 2):
            assert generate(f"job{k}/prod", *IN_SHARDS, 512, "--shard", f"{k}/2") == 0
        requests = [(tmp_path / f"job{k}" / "prod" / "production.json").read_bytes() for k in (1, 2)]
        assert requests[0] == requests[1]
        for file in (tmp_path / "job2" / "prod").rglob("*.*"):
            file.rename(tmp_path / "job1" / "prod" / file.relative_to(tmp_path / "job2" / "prod"))
        assert main(["merge", "job1/prod", "--out", "all.toy"]) == 0
        assert (tmp_path / "all.toy").read_text() == whole

    def test_files_of_jobs_are_put_together_in_the_order_given(self, generate, whole, tmp_path: Path, capsys) -> None:
        for k in (1, 2, 3):
            assert generate(f"{k}.toy", "--shard", f"{k}/3") == 0
        assert main(["merge", "1.toy", "2.toy", "3.toy", "--out", "all.toy"]) == 0
        assert (tmp_path / "all.toy").read_text() == whole
        assert main(["merge", "1.toy", "none.toy", "--out", "x.toy"]) == 2
        assert "none.toy: file to merge does not exist" in capsys.readouterr().err
        assert main(["merge", "1.toy", "2.toy"]) == 2
        assert "--out FILE" in capsys.readouterr().err
        assert not (tmp_path / "x.toy").exists()


class TestInspect:
    def test_what_was_produced(self, generate, capsys) -> None:
        assert generate("prod", *IN_SHARDS, 512) == 0
        capsys.readouterr()
        for path in ("prod", "prod/manifest.json"):
            assert main(["inspect", path]) == 0
            shown = capsys.readouterr().out
            for word in ("production", "3,000", "6 of 512 events", "seed", "1 to 100", "SHA-256"):
                assert word in shown

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda file: file.unlink(), "is missing"),
            (lambda file: file.write_text(file.read_text() + " "), "bytes, not"),
            (lambda file: file.write_text(file.read_text().replace("1", "2", 1)), "was altered"),
        ],
    )
    def test_what_is_no_longer_what_was_produced(self, generate, tmp_path: Path, capsys, damage, words: str) -> None:
        assert generate("prod", *IN_SHARDS, 512) == 0
        file = sorted((tmp_path / "prod").glob("events-*"))[2]
        damage(file)
        assert main(["inspect", "prod"]) == 2
        shown = capsys.readouterr().err
        for word in ("1 of 6 files are not those of the manifest", file.name, words, "--resume"):
            assert word in shown

    @pytest.mark.parametrize(
        "damage",
        [
            lambda manifest: manifest["shards"].pop(2),
            lambda manifest: manifest["shards"][2].update(n_events=511),
            lambda manifest: manifest["shards"].reverse(),
            lambda manifest: manifest.update(n_events=2999),
            lambda manifest: manifest.pop("request"),
        ],
    )
    def test_a_manifest_that_does_not_list_every_event_once(self, generate, tmp_path: Path, capsys, damage) -> None:
        assert generate("prod", *IN_SHARDS, 512) == 0
        path = tmp_path / "prod" / "manifest.json"
        manifest = json.loads(path.read_text())
        damage(manifest)
        path.write_text(json.dumps(manifest))
        assert main(["inspect", str(path)]) == 2
        assert "manifest" in capsys.readouterr().err
        assert main(["merge", "prod"]) == 0
        assert main(["inspect", "prod"]) == 0

    def test_versions_that_differ_are_a_warning(self, generate, tmp_path: Path, capsys) -> None:
        assert generate("prod", *IN_SHARDS, 512) == 0
        path = min((tmp_path / "prod" / "records").iterdir())
        path.write_text(path.read_text().replace('"torch": "', '"torch": "1.'))
        assert main(["merge", "prod"]) == 0
        assert main(["inspect", "prod"]) == 0
        assert "different versions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("prod", "--shard-size", 1000), "--shard-size: not a size of shards"),
        (("prod", "--shard-size", 0), "--shard-size: not a size of shards"),
        (("out.toy", "--format", "toy"), "the suffix of --out tells the format"),
        (("out.toy", "--resume", "--shard", "1/2"), "--out out, and hepflows merge out --out out.toy"),
        (("prod", "--resume", "--force"), "--resume and --force contradict each other"),
        (("prod", "--force", "--shard", "1/2"), "--force would remove the shards of other jobs"),
        (("prod", "--shard", "1/2"), "this share has no events"),
        (("prod", "--energy", "1..200GeV", "--format", "toy"), "outside the trained range"),
        (("prod", "--format", "../x"), "suffix"),
        (("mine", "--format", "toy"), "the directory holds something else"),
        (("file/prod", "--format", "toy"), "output cannot be written here"),
        (("prod", "--dask", "cluster"), "not a Dask cluster"),
        (("prod", "--dask", "local:0"), "not a Dask cluster"),
    ],
)
def test_refusals_leave_nothing(generate: Generate, tmp_path: Path, capsys, arguments, words: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    if "--energy" in arguments:
        tokens = ["generate", "run/teacher", "-n", 3000, "--seed", 7, "--out", *arguments]
        assert main([str(token) for token in tokens]) == 2
    else:
        assert generate(*arguments) == 2
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_force_keeps_the_files_of_others(generate: Generate, tmp_path: Path) -> None:
    assert generate("prod", *IN_SHARDS, 512) == 0
    mine = ("notes.txt", "events-all-merged.toy", "events-analysis/notes.txt", "records/mine.txt")
    for name in mine:
        (tmp_path / "prod" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "prod" / name).write_text("mine")
    assert generate("prod", *IN_SHARDS, 512, "--force") == 0
    assert {(tmp_path / "prod" / name).read_text() for name in mine} == {"mine"}


def test_a_late_worker_does_not_bring_back_what_was_removed(generate: Generate, tmp_path: Path, monkeypatch) -> None:
    """Dask cannot stop a task that runs when its client has failed and cleaned up."""
    stop_after(monkeypatch, 0, lambda: shutil.rmtree(tmp_path / "prod"))
    assert generate("prod", *IN_SHARDS, 512) == 2
    assert not (tmp_path / "prod").exists()


def test_a_late_job_does_not_mix_with_the_production_that_took_its_place(
    generate: Generate, tmp_path: Path, monkeypatch
) -> None:
    assert other_production() == 0
    stop_after(monkeypatch, 2, lambda: shutil.copy(tmp_path / "other" / "production.json", tmp_path / "prod"))
    assert generate("prod", *IN_SHARDS, 1024) == 2


def test_shards_of_another_request_are_made_again(generate: Generate, whole: str, listed, tmp_path: Path) -> None:
    assert generate("prod", *IN_SHARDS, 1024) == 0
    assert other_production() == 0
    for name in ("events-000000001024-000000002048.toy", "records/events-000000001024-000000002048.toy.json"):
        shutil.copy(tmp_path / "other" / name, tmp_path / "prod" / name)
    assert generate("prod", *IN_SHARDS, 1024, "--resume") == 0
    assert listed() == json.loads(whole)


def test_a_damaged_record_is_named(generate: Generate, tmp_path: Path, capsys) -> None:
    assert generate("prod", *IN_SHARDS, 512) == 0
    record = sorted((tmp_path / "prod" / "records").iterdir())[3]
    record.write_text("{")
    assert generate("prod", *IN_SHARDS, 512, "--resume") == 2
    shown = capsys.readouterr().err
    assert record.name in shown
    assert "delete it" in shown


def test_conditions_of_a_file(generate: Generate, trained: Path, toy_file: Path, tmp_path: Path, listed) -> None:
    tokens = ["generate", trained / "teacher", "--seed", 3, "--like", toy_file, "--out"]
    assert main([str(token) for token in (*tokens, "one.toy")]) == 0
    assert main([str(token) for token in (*tokens, "prod", *IN_SHARDS, 256)]) == 0
    assert listed() == json.loads((tmp_path / "one.toy").read_text())
    content = json.loads(toy_file.read_text())
    content[-1][0] += 1
    toy_file.write_text(json.dumps(content))
    assert main([str(token) for token in (*tokens, "prod", *IN_SHARDS, 256, "--resume")]) == 2


def other_production() -> int:
    """One of the same size with another seed."""
    tokens = ("run/teacher", "--energy", "1..100GeV", "-n", 3000, "--seed", 8, "--out", "other", *IN_SHARDS, 1024)
    return main(["generate", *map(str, tokens)])


def stop_after(monkeypatch: pytest.MonkeyPatch, n_shards: int, stop: Callable[[], None] | None = None) -> None:
    """Interrupt while the shard after the first n is sampled."""
    from hepflows import registry

    generator = type(registry.load("run/teacher"))
    sample, count = generator.sample, iter(range(1000))
    size = 512

    def stopping(self, conditions, **options):
        if options["first_event"] >= n_shards * size and next(count) == 0:
            if stop is None:
                raise KeyboardInterrupt
            stop()
        return sample(self, conditions, **options)

    monkeypatch.setattr(generator, "sample", stopping)


def spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shards that are made."""
    from hepflows.production import job

    made: list[tuple[int, int]] = []
    real = job.make_shard

    def make_shard(folder, bounds, **options):
        made.append(bounds)
        return real(folder, bounds, **options)

    monkeypatch.setattr(job, "make_shard", make_shard)
    return made
