"""JetFlow: preprocessing is invertible with the right density, variants sample what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hepflows.errors import ConfigError
from jetgen.config import JetFlowConfig
from jetgen.dataset import make_tensors
from jetgen.jetflow import JetFlowModel, SamplingModule
from jetgen.mass_kernel import jet_masses
from jetgen.portable import sinh, sorted_by_pt
from jetgen.preprocessing import ConditionInputs, Constituents, ConstituentTransform
from jetgen.presets import PRESETS
from jetgen.training import JetFlow

SLOTS = 6
SMALL = {
    "coupling": {"blocks": 3, "width": 16, "depth": 1},
    "equivariant": {"width": 8, "blocks": 1, "heads": 2, "steps": 2},
}
CONDITIONS = [(), ("mass",), ("mass", "multiplicity")]


@pytest.fixture(scope="module")
def jets(make_jets):
    return make_jets(600, n_slots=SLOTS, seed=3, min_constituents=2)


def model_of(preset, jets, dtype=torch.float32, **settings):
    """Preprocessing fitted, weights random and away from the identity."""
    config = JetFlow(preset, **{**SMALL, **settings}).config
    data = make_tensors(jets, config, "cpu")
    torch.manual_seed(5)
    model = JetFlowModel(jets.n_slots, config)
    constituents, conditions = data.batch(torch.arange(len(jets)))
    model.fit_preprocessing(constituents, data.mass, data.valid)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.keep_trained()
    return model.to(dtype).eval(), as_type(constituents, dtype), conditions.to(dtype)


def as_type(jets, dtype):
    return Constituents(jets.eta.to(dtype), jets.phi.to(dtype), jets.pt.to(dtype), jets.mask)


@pytest.mark.parametrize("names", CONDITIONS)
def test_preprocessing_closes(jets, names):
    data = make_tensors(jets, JetFlowConfig(preset="cnf_mn"), "cpu")
    constituents, conditions = data.batch(torch.arange(len(jets)))
    constituents, conditions = as_type(constituents, torch.float64), conditions[:, : len(names)].double()
    inputs = ConditionInputs(names, SLOTS).double()
    inputs.fit(conditions, data.valid[:, : len(names)].double())
    context = inputs(conditions)
    transform = ConstituentTransform(SLOTS, len(names), shared=False, multiplicity_known=len(names) == 2).double()
    transform.fit(constituents, context)
    y, _ = transform(constituents, context)
    back = transform.inverse(y, context, conditions[:, 1:2] if len(names) == 2 else None)
    same = (back.mask == constituents.mask).all(1)
    assert same.float().mean() > 0.98  # the noise of an empty slot may reach the cut
    for name in ("eta", "phi", "pt"):
        found, expected = getattr(back, name)[same], getattr(constituents, name)[same]
        if name == "pt" and len(names) < 2:  # the softest are moved away from the empty slots
            moved = y[same][:, :, 2] <= -5.6
            found = torch.where(moved, expected, found)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    filled = y[constituents.mask]
    assert filled.mean(0).abs().max() < 0.2
    assert filled.std(0).tolist() == pytest.approx([1.0] * 3, abs=0.1)


def test_log_determinant_is_that_of_the_jacobian(jets):
    model, constituents, conditions = model_of("cnf_mn", jets, torch.float64)
    context = model.conditions(conditions)
    for row in (0, 1, 2):
        n = int(constituents.mask[row].sum())
        flat = torch.stack([v[row, :n] for v in (constituents.eta, constituents.phi, constituents.pt)]).flatten()

        def transformed(values, row=row, n=n):
            eta, phi, pt = (torch.nn.functional.pad(v, (0, SLOTS - n))[None] for v in values.reshape(3, n))
            one = Constituents(eta, phi, pt, constituents.mask[row : row + 1])
            return model.constituents(one, context[row : row + 1])[0][0, :n].flatten()

        jacobian = torch.autograd.functional.jacobian(transformed, flat)
        one = Constituents(*(v[row : row + 1] for v in vars(constituents).values()))
        log_det = model.constituents(one, context[row : row + 1])[1]
        assert float(log_det) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-8)


def test_density_of_a_jet_integrates_over_the_empty_slots(jets):
    model, constituents, conditions = model_of("cnf_mn", jets, torch.float64)
    torch.manual_seed(1)
    values = torch.stack([model.log_prob(constituents, conditions) for _ in range(2)])
    full = constituents.mask.all(1)
    torch.testing.assert_close(values[0][full], values[1][full])  # nothing is drawn
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("preset", list(PRESETS))
def test_samples_are_jets(preset, jets):
    model, _, conditions = model_of(preset, jets)
    torch.manual_seed(2)
    with torch.no_grad():
        sample = model.sample(torch.randn(len(jets), model.noise_dim), conditions)
    n = sample.mask.sum(1)
    assert (n >= 1).all()
    if "multiplicity" in model.condition_names:
        assert torch.equal(n, conditions[:, 1].long())
    for values in (sample.eta, sample.phi, sample.pt):
        assert torch.isfinite(values).all()
        assert (values[~sample.mask] == 0).all()
    assert (sample.pt[sample.mask] > 0).all()
    assert (sample.pt[:, 1:] <= sample.pt[:, :-1]).all()
    assert (sample.mask[:, 1:] <= sample.mask[:, :-1]).all()
    if model.constraint == "exact":
        mass = jet_masses(sample.eta.numpy(), sample.phi.numpy(), sample.pt.numpy())
        np.testing.assert_allclose(mass, conditions[:, 0].double().numpy(), rtol=1e-5)


def test_exact_with_jitter_and_unconstrained_share_all_but_the_scale(jets):
    exact, _, conditions = model_of("exact", jets, scale_jitter=0.1)
    free, _, _ = model_of("cnf_mn", jets)
    noise = torch.randn(len(jets), exact.noise_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        one, two = exact.sample(noise, conditions), free.sample(noise, conditions)
    torch.testing.assert_close(one.pt, two.pt, rtol=0, atol=0)
    narrow = two.eta.abs().amax(1) < 0.3
    ratio = (one.eta / two.eta)[narrow]
    first = ratio[:, :1].expand_as(ratio)
    filled = one.mask[narrow]
    torch.testing.assert_close(ratio[filled], first[filled], rtol=1e-3, atol=0)


def test_exact_density_learns_jets_up_to_their_scale(jets):
    model, constituents, conditions = model_of("exact", jets, scale_jitter=0.5)
    torch.manual_seed(4)
    one, _ = model.prepare(constituents, conditions, augment=False)
    two, _ = model.prepare(constituents, conditions, augment=False)
    full = constituents.mask.all(1)
    one, two = (v[full].reshape(-1, SLOTS, 3) for v in (one, two))
    torch.testing.assert_close(one[:, :, 2], two[:, :, 2])
    assert (one[:, :, :2] != two[:, :, :2]).all()


def test_mirrors_flip_whole_jets(jets):
    model, constituents, conditions = model_of("cnf_mn", jets)
    torch.manual_seed(6)
    features, _ = model.prepare(constituents, conditions, augment=True)
    plain, _ = model.prepare(constituents, conditions, augment=False)
    full = constituents.mask.all(1)
    ratio = (features / plain)[full].reshape(-1, SLOTS, 3)
    for axis in (0, 1):
        signs = ratio[:, :, axis].sign()
        assert (signs == signs[:, :1]).all()
        assert set(signs[:, 0].tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(ratio[:, :, 2], torch.ones_like(ratio[:, :, 2]))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_parameter_gets_a_gradient(preset, jets):
    config = JetFlow(preset, **SMALL).config
    data = make_tensors(jets, config, "cpu")
    torch.manual_seed(7)
    model = JetFlowModel(SLOTS, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    with torch.no_grad():  # zeros at the start would block the way
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    constituents, conditions = data.training_batch(torch.arange(64))
    loss = model.loss(*model.prepare(constituents, conditions, augment=True))
    (loss + model.sum_loss(constituents, conditions)).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and (p.grad != 0).any() for p in trained)


def test_affine_blocks_can_be_chosen(jets):
    config = JetFlow("cnf_mn", coupling={**SMALL["coupling"], "transform": "affine"}).config
    model = JetFlowModel(SLOTS, config).eval()
    x, context = torch.randn(20, 3 * SLOTS), torch.randn(20, 2)
    z, _ = model.network(x, context)
    torch.testing.assert_close(model.network.inverse(z, context)[0], x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transform", ["spline", "affine"])
def test_batch_normalisation_can_be_chosen(jets, transform):
    coupling = {**SMALL["coupling"], "transform": transform, "batch_norm": True}
    model, constituents, conditions = model_of("cnf_mn", jets, coupling=coupling)
    kinds = [type(module) for module in model.network.modules()]
    assert kinds.count(torch.nn.BatchNorm1d) == 2 * 3  # two a residual block
    features, context = model.prepare(constituents, conditions, augment=False)
    model.network.train()
    model.loss(features, context).backward()
    norms = [m for m in model.network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert all((m.weight.grad != 0).any() and (m.running_mean != 0).any() for m in norms)
    model.network.eval()
    with torch.no_grad():
        z, log_det = model.network(features, context)
        x, back = model.network.inverse(z, context)
        alone, _ = model.network(features[:1], context[:1])
    torch.testing.assert_close(x, features, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(back, -log_det, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone, z[:1], rtol=1e-4, atol=1e-4)  # not the batch's moments, but the running ones


def test_jets_of_given_mass_alone_have_two_constituents_at_least(jets):
    settings = {**SMALL, "condition": ("mass",), "mass_constraint": "exact", "pt_sum": "none"}
    config = JetFlow("exact", **settings).config
    data = make_tensors(jets, config, "cpu")
    model = JetFlowModel(SLOTS, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    y = torch.full((4, SLOTS, 3), -7.0)  # empty slots
    y[1:, 4, 2] = 1.0
    y[2:, 2, 2] = 1.5
    y[3:, 1, 2] = 0.5
    sample = model.constituents.inverse(y, model.conditions(torch.full((4, 1), 0.1)), None)
    assert sample.mask.sum(1).tolist() == [SLOTS, SLOTS, 2, 3]  # ties count as one
    assert sample.mask[3].nonzero().flatten().tolist() == [1, 2, 4]
    torch.manual_seed(9)
    with torch.no_grad():
        made = model.sample(torch.randn(500, model.noise_dim), torch.full((500, 1), 0.1))
    assert made.mask.sum(1).min() >= 2
    mass = jet_masses(made.eta.numpy(), made.phi.numpy(), made.pt.numpy())
    np.testing.assert_allclose(mass, 0.1, rtol=1e-5)


def test_default_network_has_the_published_size():
    model = JetFlowModel(30, JetFlow("cnf_mn").config)
    blocks = [t for t in model.network.transforms if hasattr(t, "conditioner")]
    sizes = [sum(p.numel() for p in block.conditioner.parameters()) for block in blocks]
    assert len(sizes) == 15
    assert sizes == pytest.approx([437_000] * 15, rel=0.03)


def test_the_graph_clamps_conditions_and_stacks_slots(jets):
    model, _, conditions = model_of("exact", jets)
    module = SamplingModule(model).eval()
    noise = torch.randn(3, model.noise_dim)
    wild = torch.tensor([[-1.0, 3.0], [9.0, 3.0], [0.1, 999.0]])
    out = module(wild, noise)
    assert out.shape == (3, 4 * SLOTS)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, module(model.conditions.clamp(wild), noise), rtol=0, atol=0)
    assert out.reshape(3, SLOTS, 4)[2, :, 3].sum() == conditions[:, 1].max()


def test_sorting_agrees_with_numpy():
    rng = torch.Generator().manual_seed(8)
    eta, phi = torch.randn(50, 9, generator=rng), torch.randn(50, 9, generator=rng)
    pt = torch.randint(1, 6, (50, 9), generator=rng).float()  # with ties
    mask = torch.rand(50, 9, generator=rng) > 0.3
    found = sorted_by_pt(eta, phi, pt, mask)
    key = np.where(mask.numpy(), -pt.numpy(), np.inf)
    order = torch.from_numpy(np.argsort(key, axis=1, kind="stable"))
    for values, result in zip((eta, phi, pt), found, strict=False):
        torch.testing.assert_close(result, torch.where(mask, values, 0 * values).gather(1, order), rtol=0, atol=0)
    assert torch.equal(found[3], mask.gather(1, order))


def test_portable_sinh():
    x = torch.cat([torch.linspace(-79, 79, 4001), torch.logspace(-12, 0, 200)]).double()
    torch.testing.assert_close(sinh(x), torch.sinh(x), rtol=4e-15, atol=0)
    assert math.isfinite(float(sinh(torch.tensor(1e9))))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "cnf_nm"}, "did you mean cnf_m"),
        ({"preset": "vnf", "mass_constraint": "exact"}, "needs the condition mass"),
        ({"preset": "vnf", "pt_sum": "exact"}, "pt_sum exact needs the condition mass"),
        ({"preset": "equivariant", "condition": ("mass",)}, "needs the conditions mass and multiplicity"),
        ({"preset": "equivariant", "mass_constraint": "loss"}, "no mass loss"),
        ({"preset": "cnf_mn", "condition": ("multiplicity",)}, "condition must be"),
        ({"preset": "cnf_mn", "coupling": {"bloks": 3}}, "did you mean blocks"),
        ({"preset": "equivariant", "equivariant": {"width": 10, "heads": 4}}, "heads must divide width"),
    ],
)
def test_inconsistent_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        JetFlow(**settings)
