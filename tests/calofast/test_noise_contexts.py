"""Which conditions the noise of a distillation is decoded under."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from calofast.config import StudentConfig
from calofast.noise_contexts import draw_contexts, draw_rows
from calofast.training import CaloFlow, distill, fit


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (0.0, stats.uniform(1, 99).cdf),
        (1.0, stats.loguniform(1, 100).cdf),
        (2.0, lambda e: (1 - 1 / e) / (1 - 1 / 100)),
    ],
)
def test_uniform_energies_become_a_power_law(power, expected):
    torch.manual_seed(5)
    energies = torch.linspace(1, 100, 100_000)
    drawn = energies[draw_rows(energies, 20_000, power)].numpy()
    assert stats.kstest(drawn, expected).pvalue > 1e-3
    others = {0.0: 1.0, 1.0: 0.0, 2.0: 1.0}[power]
    wrong = energies[draw_rows(energies, 20_000, others)].numpy()
    assert stats.kstest(wrong, expected).pvalue < 1e-12


def test_a_single_shower_is_always_drawn():
    assert draw_rows(torch.tensor([3.0]), 5, 1.5).tolist() == [0] * 5


@pytest.fixture(scope="module")
def teacher(make_showers, make_config):
    showers = make_showers(300)
    return fit(CaloFlow(showers.geometry, make_config()), showers), showers


def test_contexts_are_conditions_of_the_data_and_layer_energies(teacher):
    model = teacher[0].model
    conditions = torch.tensor([[2.0], [50.0], [90.0]])
    torch.manual_seed(1)
    found = draw_contexts(model, conditions, 3000, low_energies=1.0)
    assert found.shape == (3000, 1 + model.n_layers)
    assert torch.isfinite(found).all()
    seen = model.conditions(conditions)[:, 0]
    counts = [int((found[:, 0] == value).sum()) for value in seen]
    weights = 1 / conditions[:, 0].numpy()
    assert sum(counts) == 3000
    assert stats.chisquare(counts, 3000 * weights / weights.sum()).pvalue > 1e-3


def test_the_student_follows_at_the_preferred_energies(teacher):
    generator, showers = teacher
    settings = generator.config.require_student()
    changed = settings.model_copy(update={"low_energies": 1.5})
    found = [distill(generator, showers, student=student).document for student in (settings, changed)]
    assert found[0]["training"]["student"]["best_loss"] != found[1]["training"]["student"]["best_loss"]
    assert found[1]["config"]["student"]["low_energies"] == 1.5


@pytest.mark.parametrize("value", [-0.1, 2.5, float("nan")])
def test_a_power_out_of_range_is_refused(value):
    with pytest.raises(ValidationError):
        StudentConfig(low_energies=value)


def test_a_student_tells_of_the_showers_that_it_followed_on(teacher):
    generator, showers = teacher
    document = distill(generator, showers.select(slice(0, len(showers) // 2))).document
    assert document["provenance"]["n_showers"] == len(showers) // 2
    assert generator.document["provenance"]["n_showers"] == len(showers)
    assert document["training"]["n_train_student"] < document["training"]["n_train"]
