"""What trainings of all tasks share: where they run, held-out events, seeds, what a checkpoint belongs to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from hepflows.errors import DataError, OutputError
from hepflows.train.checkpoint import identity
from hepflows.train.run import Run, remove_old, training_folder
from hepflows.train.seeding import generator_of, seed_of, seeded
from hepflows.train.split import chosen_rows, split_events

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_names_its_data(tmp_path: Path) -> None:
    data = tmp_path / "events.h5"
    data.write_bytes(b"events")
    run = Run.on_file(data, directory=tmp_path / "out", resume=True, device="cpu")
    assert run.provenance == {"data_file": "events.h5", "data_sha256": hashlib.sha256(b"events").hexdigest()}
    assert run.folder("teacher") == tmp_path / "out" / "teacher"
    assert Run().folder("teacher") is None


@pytest.mark.parametrize("resume", [True, False])
def test_checkpoints_stay_only_for_a_resumed_training(tmp_path: Path, resume: bool) -> None:
    checkpoint = tmp_path / "training" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"")
    killed = tmp_path / ".teacher.0123abcd.tmp"
    killed.mkdir()
    assert training_folder(tmp_path, resume=resume) == tmp_path / "training"
    assert checkpoint.exists() == resume
    assert killed.exists() != resume


def test_what_is_not_a_checkpoint_stays(tmp_path: Path) -> None:
    (tmp_path / "training" / "teacher").mkdir(parents=True)
    notes = tmp_path / "training" / "teacher" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(OutputError, match=r"something else lies here[\s\S]*notes\.txt"):
        training_folder(tmp_path, resume=False)
    assert notes.read_text() == "mine"
    remove_old(tmp_path / "training")
    assert notes.exists()


def test_the_artefact_of_an_earlier_training_goes(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "generator.json").write_text("{}")
    remove_old(tmp_path / "student")
    remove_old(tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_rows_are_chosen_everywhere_and_all_if_they_are_few() -> None:
    rows = chosen_rows(10_000, 200, seed=3)
    assert len(rows) == 200
    assert (np.diff(rows) > 0).all()
    assert kstest(rows / 10_000, "uniform").pvalue > 0.01
    assert np.array_equal(chosen_rows(10_000, 200, seed=3), rows)
    assert np.array_equal(chosen_rows(5, 200, seed=3), np.arange(5))


def test_a_split_is_a_partition_that_follows_from_the_seed() -> None:
    train, validation = split_events(103, 0.1, seed=3, at_least=90, what="events")
    assert len(validation) == 10
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(103))
    assert (np.diff(train) > 0).all()
    again, other = (split_events(103, 0.1, seed=seed, at_least=90, what="events") for seed in (3, 4))
    assert np.array_equal(validation, again.validation)
    assert not np.array_equal(validation, other.validation)
    assert len(split_events(5, 0.0, seed=3, at_least=1, what="events").validation) == 1


def test_too_few_events_are_refused() -> None:
    with pytest.raises(DataError, match="too few showers to train on") as caught:
        split_events(100, 0.1, seed=3, at_least=91, what="showers", where="eplus.h5")
    assert (caught.value.where, caught.value.expected, caught.value.found) == ("eplus.h5", "at least 91", "90")


def test_seeds_differ_by_purpose_and_number() -> None:
    numbers = {seed_of(seed, purpose, n) for seed in (1, 2) for purpose in ("epoch", "step") for n in range(50)}
    assert len(numbers) == 200
    assert all(0 <= number < 2**63 for number in numbers)
    draws = [torch.rand(3, generator=generator_of(1, "epoch", n)) for n in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_seeded_leaves_the_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(5):
        assert torch.equal(torch.rand(3), first)


def test_identity_tells_all_parts() -> None:
    parts = ('{"a": 1}', np.arange(3.0))
    assert identity(*parts) == hashlib.sha256(b'{"a": 1}' + np.arange(3.0).tobytes()).hexdigest()
    assert len({identity(*parts), identity(parts[0]), identity(parts[1]), identity(parts[0], np.arange(4.0))}) == 4
