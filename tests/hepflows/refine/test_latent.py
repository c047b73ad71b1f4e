"""Weights pulled back to latents, and all ways to draw from them, where the refined latents are N(shift, 1)."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import stats

from exporters import to_onnx
from hepflows.errors import ConfigError, DataError, RefinementError, TrainingError
from hepflows.philox import normal_noise
from hepflows.refine import refine
from hepflows.refine.adapter import require_latents
from hepflows.refine.config import HmcConfig, PullConfig, RejectionConfig
from hepflows.refine.event_ratio import EventWeights, fit_event_ratio
from hepflows.refine.latent import ContextScaler, LatentRatio, pull_back
from hepflows.refine.samplers import HmcRefiner, RejectionRefiner
from hepflows.refine.samples import make_samples


def test_pulled_back_weights_are_those_of_the_events(plane, reference, adapter, config, shift):
    samples = make_samples(plane, reference, adapter, copies=1, seed=1)
    np.testing.assert_array_equal(samples.latents, samples.generated)  # the generator is the identity
    pulled = pull_back(samples, config.classifier, config.pull, seed=1)
    z = torch.randn(5000, 2, generator=torch.Generator().manual_seed(3))
    log_w = pulled.ratio(z, z[:, :0]).detach().numpy()
    exact = z.numpy() @ shift - 0.5 * shift @ shift
    bulk = np.abs(z.numpy()).max(axis=1) < 1.5
    assert np.abs(log_w - exact)[bulk].mean() < 0.15
    assert np.exp(log_w).mean() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("iterations", [1, 3])
def test_omnifold_iterations_with_an_ignored_noise_input(ignoring, reference_of, adapter, config, shift, iterations):
    # x = z + u with both N(0, 1); the reference has z ~ N(shift, 1). Each iteration goes half of the way that is left.
    reference = reference_of(12_000, spread=np.sqrt(2))
    samples = make_samples(ignoring, reference, adapter, copies=1, seed=1)
    pull = PullConfig(iterations=iterations, classifier=config.pull.classifier)
    pulled = pull_back(samples, config.classifier, pull, seed=2)
    z = torch.from_numpy(samples.latents)
    w = pulled.ratio(z, z[:, :0]).exp().detach().numpy()
    moved = np.average(samples.latents, axis=0, weights=w)
    np.testing.assert_allclose(moved, shift * (1 - 0.5**iterations), atol=0.08)


@pytest.mark.parametrize("method", ["laser-flow", "laser-gan", "rejection", "hmc"])
def test_refined_events_follow_the_reference(plane, reference, adapter, config, shift, method):
    refined = refine(plane, reference, method, config, adapter=adapter)
    n = 1500
    events = refined.sample({}, n=n, seed=8).values
    before = np.linalg.norm(shift)
    assert np.linalg.norm(events.mean(axis=0) - shift) < 0.3 * before
    np.testing.assert_allclose(events.std(axis=0), 1, atol=0.15)
    if method != "laser-gan":  # a GAN of so few steps gets the moments, not all of the shape
        for column in range(2):
            found = stats.kstest(events[:, column], "norm", args=(shift[column], 1.0))
            assert found.statistic < 0.09
    # events follow from seed and index, whatever the batch
    parts = [refined.sample({}, n=512, seed=8), refined.sample({}, n=n - 512, seed=8, first_event=512)]
    np.testing.assert_array_equal(events, np.concatenate([part.values for part in parts]))
    assert refined.document["kind"] == f"plane+{method}"


@pytest.fixture
def exact(config):
    return config.model_copy(update={"pull": config.pull.model_copy(update={"source": "events"})})


@pytest.mark.parametrize("method", ["laser-flow", "laser-gan", "rejection", "hmc"])
def test_weights_of_the_events_themselves(plane, reference, adapter, exact, shift, method):
    plane.sampling_module = _Doubled  # so that weights of z and of g(z) = 2 z cannot be confused
    plane.sample = _doubled(plane.sample)
    refined = refine(plane, reference, method, exact, adapter=adapter)
    assert "latents" not in refined.document["training"]["refinement"]  # no classifier on latents was needed
    events = refined.sample({}, n=1500, seed=8).values
    np.testing.assert_allclose(events.mean(axis=0), shift, atol=0.25)
    np.testing.assert_allclose(events.std(axis=0), 1, atol=0.3 if method == "laser-gan" else 0.2)


def _doubled(sample):
    def doubled(*args, **options):
        made = sample(*args, **options)
        return dataclasses.replace(made, values=2 * made.values)

    return doubled


def test_what_weights_of_the_events_need(plane, reference, adapter, exact):
    pull = exact.pull.model_copy(update={"iterations": 2})
    with pytest.raises(ConfigError, match=r"pull\.iterations: .*latents that tell all of an event"):
        refine(plane, reference, "rejection", exact.model_copy(update={"pull": pull}), adapter=adapter)
    with pytest.raises(ConfigError, match="a generator that is a torch module"):
        refine(_Opaque(plane), reference, "laser-gan", exact, adapter=adapter)
    plane.sampling_module = _Detached
    with pytest.raises(ConfigError, match=r"pull\.source = events: no gradient leads from the events"):
        refine(plane, reference, "hmc", exact, adapter=adapter)
    refine(plane, reference, "rejection", exact, adapter=adapter)  # needs none


def test_gradients_that_are_not_finite_are_refused(plane, reference, adapter, exact, monkeypatch):
    monkeypatch.setattr("hepflows.refine.laser.make_samples", None)  # before anything is generated
    plane.sampling_module = _Rooted
    with pytest.raises(ConfigError, match=r"not finite[\s\S]*found: 200 of 200 events"):
        refine(plane, reference, "hmc", exact, adapter=adapter)


class _Rooted(torch.nn.Module):
    def forward(self, _: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return (noise - noise).sqrt()


@pytest.fixture
def reverse(config):
    return config.model_copy(update={"flow": config.flow.model_copy(update={"objective": "reverse"})})


def test_the_reverse_divergence_finds_the_target(plane, reference, adapter, reverse, shift):
    refined = refine(plane, reference, "laser-flow", reverse, adapter=adapter)
    events = refined.sample({}, n=4000, seed=8).values
    assert np.linalg.norm(events.mean(axis=0) - shift) < 0.15 * np.linalg.norm(shift)
    np.testing.assert_allclose(events.std(axis=0), 1, atol=0.1)
    figures = refined.document["training"]["refinement"]
    assert "latents" not in figures  # no classifier on latents was needed
    # the divergence of flow and target, whose norm is about 1, is 0 where they agree; it was |shift|^2 / 2
    assert abs(figures["flow"]["best_loss"]) < 0.2 * (0.5 * shift @ shift)


def test_the_reverse_divergence_on_top_of_a_refinement(plane, reference, adapter, reverse, shift):
    twice = refine(plane, reference, "laser-flow", reverse.model_copy(update={"rounds": 2}), adapter=adapter)
    assert twice.base.base is plane
    assert np.linalg.norm(twice.sample({}, n=4000, seed=1).values.mean(axis=0) - shift) < 0.1


def test_weights_of_events_as_a_function_of_latents(plane, reference, adapter, config):
    samples = make_samples(plane, reference, adapter, copies=1, seed=1)
    fit = fit_event_ratio(samples, config.classifier, seed=1)
    weights = EventWeights(_Doubled(), adapter.features(plane), fit.model, latent_dim=2)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(2)).requires_grad_()
    found = weights(z, z[:, :0])
    torch.testing.assert_close(found, fit.model(2 * z))
    (gradient,) = torch.autograd.grad(found.sum(), z)
    doubled = (2 * z).detach().requires_grad_()
    torch.testing.assert_close(gradient, 2 * torch.autograd.grad(fit.model(doubled).sum(), doubled)[0])
    assert not any(parameter.requires_grad for parameter in weights.parameters())


class _Doubled(torch.nn.Module):
    def forward(self, _: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return 2 * noise


def test_what_the_reverse_divergence_cannot_refine(plane, reference, adapter, reverse):
    pull = reverse.pull.model_copy(update={"iterations": 2})
    with pytest.raises(ConfigError, match=r"pull\.iterations: .*latents that tell all of an event"):
        refine(plane, reference, "laser-flow", reverse.model_copy(update={"pull": pull}), adapter=adapter)
    opaque = _Opaque(plane)
    with pytest.raises(ConfigError, match="a generator that is a torch module"):
        refine(opaque, reference, "laser-flow", reverse, adapter=adapter)


def test_events_without_a_gradient_are_refused(plane, reference, adapter, reverse):
    plane.sampling_module = _Detached
    with pytest.raises(ConfigError, match="no gradient leads from the events"):
        refine(plane, reference, "laser-flow", reverse, adapter=adapter)


class _Detached(torch.nn.Module):
    def forward(self, _: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return noise.detach()


def test_refusals_come_before_anything_is_generated(plane, reference, adapter, reverse, monkeypatch):
    monkeypatch.setattr("hepflows.refine.laser.make_samples", None)
    pull = reverse.pull.model_copy(update={"iterations": 2})
    with pytest.raises(ConfigError, match=r"pull\.iterations"):
        refine(plane, reference, "laser-flow", reverse.model_copy(update={"pull": pull}), adapter=adapter)


def test_a_second_flow_of_another_objective_or_reference_is_not_resumed(
    plane, reference, reference_of, adapter, config, reverse, tmp_path
):
    settings = {"adapter": adapter, "directory": tmp_path}
    first = refine(plane, reference, "laser-flow", reverse, **settings)
    again = refine(plane, reference, "laser-flow", reverse, resume=True, **settings)
    np.testing.assert_array_equal(*(one.sample({}, n=50, seed=1).values for one in (first, again)))
    with pytest.raises(TrainingError, match="another training"):
        refine(plane, reference, "laser-flow", config, resume=True, **settings)
    with pytest.raises(TrainingError, match="another training"):
        refine(plane, reference_of(12_000, spread=0.9), "laser-flow", reverse, resume=True, **settings)


class _Opaque:
    """A plane generator that cannot be exported."""

    task, condition_names, kind, noise_dim = "plane", (), "plane", 2

    def __init__(self, inside):
        self.sample, self.condition_matrix, self.document = inside.sample, inside.condition_matrix, inside.document


def test_refined_twice_by_a_flow(plane, reference, adapter, config, shift):
    twice = refine(plane, reference, "laser-flow", config.model_copy(update={"rounds": 2}), adapter=adapter)
    assert twice.base.base is plane
    events = twice.sample({}, n=2000, seed=1).values
    assert np.linalg.norm(events.mean(axis=0) - shift) < 0.15


def test_weighted_events(plane, reference, adapter, config, shift):
    weighted = refine(plane, reference, "dctr", config, adapter=adapter)
    events = weighted.sample({}, n=5000, seed=11)
    np.testing.assert_array_equal(events.values, plane.sample({}, n=5000, seed=11).values)
    assert events.weights.mean() == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(np.average(events.values, axis=0, weights=events.weights), shift, atol=0.07)
    part = weighted.sample({}, n=488, seed=11, first_event=512)
    np.testing.assert_array_equal(part.weights, events.weights[512:1000])


def test_what_cannot_be_refined_again(plane, reference, adapter, config):
    weighted = refine(plane, reference, "dctr", config, adapter=adapter)
    with pytest.raises(ConfigError, match="latents of this generator cannot be refined by laser-flow"):
        refine(weighted, reference, "laser-flow", config, adapter=adapter)
    with pytest.raises(ConfigError, match="cannot be refined again"):
        refine(plane, reference, "hmc", config.model_copy(update={"rounds": 2}), adapter=adapter)
    for method, remedy in (("dctr", "leave rounds out"), ("discflow", r"set discflow\.rounds")):
        with pytest.raises(ConfigError, match=remedy):
            refine(plane, reference, method, config.model_copy(update={"rounds": 2}), adapter=adapter)
    with pytest.raises(ConfigError, match=r"unknown refinement, did you mean dctr\?"):
        refine(plane, reference, "dcrt", config, adapter=adapter)
    with pytest.raises(ConfigError, match="not refined yet"):
        refine(weighted, reference, "discflow", config, adapter=adapter)
    with pytest.raises(ConfigError, match="cannot be refined by hmc"):
        require_latents(object(), method="hmc")


def test_samplers_are_no_graph(plane, reference, adapter, config):
    refined = refine(plane, reference, "rejection", config, adapter=adapter)
    with pytest.raises(ConfigError, match=r"loop over random numbers[\s\S]*laser-flow"):
        refined.sampling_module()
    with pytest.raises(ConfigError, match="a graph cannot hold"):
        refined.export_metadata()


def test_a_gan_and_its_generator_become_one_graph(plane, reference, adapter, config, tmp_path):
    refined = refine(plane, reference, "laser-gan", config, adapter=adapter)
    result = to_onnx(refined, tmp_path / "plane.onnx", parity_events=256)
    session = onnxruntime.InferenceSession(result.model)
    noise = normal_noise(3, 0, 256, 2 + config.gan.auxiliary)
    (x,) = session.run(None, {"noise": noise})
    np.testing.assert_allclose(x, refined.sample({}, n=256, seed=3).values, atol=1e-5)


def test_rejection_gives_up_with_numbers():
    ratio = LatentRatio(2, 0, (4,))
    ratio.ratio.log_limit.fill_(50.0)  # candidates are kept with probability e^-50
    refiner = RejectionRefiner(ratio, RejectionConfig(tries=32))
    with pytest.raises(RefinementError, match="5 of 5 events of a batch after 32 tries"):
        refiner.draw(torch.empty(5, 0), seed=0, first_event=0)


def test_no_events_have_no_latents():
    ratio = LatentRatio(2, 0, (4,))
    for refiner in (RejectionRefiner(ratio, RejectionConfig()), HmcRefiner(ratio, HmcConfig(), step=0.1)):
        assert refiner.draw(torch.empty(0, 0), seed=0, first_event=0).shape == (0, 2)


def test_too_few_reference_events(plane, reference_of, adapter, config):
    with pytest.raises(DataError, match="too few reference events"):
        refine(plane, reference_of(50), "dctr", config, adapter=adapter)


def test_conditions_over_decades_are_taken_as_logarithms():
    scaler = ContextScaler(2)
    decades = torch.logspace(0, 3, 1000)
    scaler.fit(torch.stack([decades, torch.linspace(5, 6, 1000)], dim=1))
    found = scaler(torch.tensor([[1.0, 5.5], [1000.0, 5.5]]))
    np.testing.assert_allclose(found[:, 0], [-np.sqrt(3), np.sqrt(3)], atol=0.01)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-3)
