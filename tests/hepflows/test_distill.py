"""Distillation: what is matched, where gradients flow, and that a student samples like its teacher."""

from __future__ import annotations

import pytest
import torch

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, reverse
from hepflows.splines import SplineSettings
from hepflows.train.distill import Distillation, DistillationConfig, data_terms, match, noise_terms
from hepflows.train.loop import fit
from hepflows.train.settings import TrainingConfig

DIM = 3
NOTHING = {"end_point": 0.0, "states": 0.0, "parameters": 0.0}


def _flow(cls: type[MaskedAutoregressive], seed: int, spread: float = 0.4) -> ConditionalFlow:
    blocks: list[torch.nn.Module] = []
    for block in range(2):
        blocks.append(cls(DIM, 1, [24, 24], SplineSettings(bins=6, bound=6.0)))
        if block < 1:
            blocks.append(Permutation(reverse(DIM)))
    flow = ConditionalFlow(blocks)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return flow


def _pair() -> tuple[ConditionalFlow, ConditionalFlow, torch.Tensor, torch.Tensor]:
    teacher = _flow(MaskedAutoregressive, 1).requires_grad_(False).eval()
    student = _flow(InverseAutoregressive, 2, 0.1)
    return student, teacher, torch.randn(64, DIM), torch.randn(64, 1)


def _gradient_norm(flow: ConditionalFlow) -> float:
    return sum(float(p.grad.abs().sum()) for p in flow.parameters() if p.grad is not None)


@pytest.mark.parametrize("term", ["end_point", "states", "parameters"])
@pytest.mark.parametrize("side", ["data", "noise"])
def test_each_term_alone_moves_the_student_and_never_the_teacher(side: str, term: str) -> None:
    student, teacher, x, context = _pair()
    terms = (data_terms if side == "data" else noise_terms)(student, teacher, x, context)
    weights = DistillationConfig.model_validate({**NOTHING, term: 1.0})
    terms.total(weights).backward()  # type: ignore[no-untyped-call]
    assert _gradient_norm(student) > 0
    assert _gradient_norm(teacher) == 0


def test_the_noise_end_point_alone_changes_the_student_through_the_frozen_teacher() -> None:
    """The end point of L_z is teacher(student(z)): its gradient must equal that of finite differences."""
    student, teacher, z, context = _pair()
    student, teacher, z, context = student.double(), teacher.double(), z.double(), context.double()
    loss = noise_terms(student, teacher, z, context).end_point
    loss.backward()  # type: ignore[no-untyped-call]
    parameter = student.transforms[0].made.output.bias
    assert parameter.grad is not None
    with torch.no_grad():
        step = 1e-6
        parameter[5] += step
        up = noise_terms(student, teacher, z, context).end_point
        parameter[5] -= 2 * step
        down = noise_terms(student, teacher, z, context).end_point
    assert float(parameter.grad[5]) == pytest.approx(float(up - down) / (2 * step), rel=1e-5, abs=1e-12)
    assert abs(float(parameter.grad[5])) > 1e-8


def test_the_teachers_pass_on_data_records_no_gradients() -> None:
    student, teacher, x, context = _pair()
    x.requires_grad_()
    data_terms(student, teacher, x, context).end_point.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None  # only as the target of the comparison
    torch.testing.assert_close(x.grad, _target_gradient(student, teacher, x.detach(), context))


def _target_gradient(
    student: ConditionalFlow, teacher: ConditionalFlow, x: torch.Tensor, context: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        made = student.trace_inverse(teacher.trace_forward(x, context).states[-1], context).states[0]
    return 2 * (x - made) / x.numel()


def test_a_perfect_student_has_no_loss() -> None:
    """An IAF whose networks ignore their input equals the MAF with the same biases."""
    teacher, student = _flow(MaskedAutoregressive, 3), _flow(InverseAutoregressive, 4)
    with torch.no_grad():
        for position in (0, 2):
            for flow in (teacher, student):
                flow.transforms[position].made.output.weight.zero_()
            student.transforms[position].made.output.bias.copy_(teacher.transforms[position].made.output.bias)
    x, context = torch.randn(50, DIM), torch.zeros(50, 1)
    for loss in (data_terms, noise_terms):
        with torch.no_grad():
            terms = loss(student, teacher, x, context)
        assert float(terms.total(DistillationConfig())) == pytest.approx(0.0, abs=1e-9)


def test_terms_are_means_over_their_own_elements() -> None:
    student, teacher, x, context = _pair()
    with torch.no_grad():
        guide = teacher.trace_forward(x, context)
        made = student.trace_inverse(guide.states[-1], context)
        terms = match(made, guide, end=0)
    assert terms.end_point == (made.states[0] - x).square().mean()
    assert terms.states == (made.states[1] - guide.states[1]).square().mean()
    both = [(a - b).square().mean() for a, b in zip(made.parameters, guide.parameters, strict=True)]
    torch.testing.assert_close(terms.parameters, sum(both) / 2)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_student_learns_to_sample_like_the_teacher(beta: float) -> None:
    teacher = _flow(MaskedAutoregressive, 1, 0.25).eval()
    student = _flow(InverseAutoregressive, 2, 0.02)
    generator = torch.Generator().manual_seed(5)
    context = torch.randn(2000, 1, generator=generator)
    with torch.no_grad():
        x = teacher.sample(torch.randn(2000, DIM, generator=generator), context)
    objective = Distillation(
        student,
        teacher,
        DistillationConfig(beta=beta),
        training=lambda index: (x[index], context[index]),
        validation=lambda: (x[1600:], context[1600:]),
        contexts=lambda n: context[1600:] if n is None else context[torch.randint(1600, (n,))],
    )
    with torch.no_grad():
        torch.manual_seed(0)
        before = objective.validation_loss()
    result = fit(student, objective, 1600, TrainingConfig(epochs=12, batch_size=80, learning_rate=5e-3), seed=1)
    assert result.best_loss < 0.15 * before
    z = torch.randn(500, DIM, generator=generator)
    with torch.no_grad():
        difference = (student.sample(z, context[:500]) - teacher.sample(z, context[:500])).abs().median()
        spread = teacher.sample(z, context[:500]).std()
    assert float(difference) < 0.15 * float(spread)
