"""The density of jets of exact mass: against closed forms, and its normalisation on the surface of the mass."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import gammaln

from hepflows.errors import ConfigError
from jetgen.dataset import make_tensors
from jetgen.jetflow import JetFlowModel
from jetgen.kinematics import mass_rel
from jetgen.mass_constraint import constrain_mass
from jetgen.preprocessing import Constituents
from jetgen.shape_density import _log_radial_share, shape_log_prob
from jetgen.training import JetFlow

N_SLOTS, WIDTH, MASS = 3, 0.1, 0.05
PT = torch.tensor([0.5, 0.3, 0.15], dtype=torch.float64)


class GaussianAngles:
    """Stands for a model: independent normal angles around `centre`, pT that does not vary."""

    constraint, scale_jitter, pt_sum = "exact", 0.25, None

    def __init__(self, centre=None, width=WIDTH):
        self.centre = torch.zeros(2 * N_SLOTS, dtype=torch.float64) if centre is None else centre
        self.width = width

    def log_prob(self, jets, conditions, *, pt_sum):
        angles = torch.cat([jets.eta, jets.phi], dim=1) - self.centre
        normal = -0.5 * (angles / self.width) ** 2 - math.log(self.width) - 0.5 * math.log(2 * math.pi)
        return normal.sum(1)

    def sample(self, n, seed):
        noise = torch.randn(n, 2 * N_SLOTS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return (self.centre + self.width * noise).split(N_SLOTS, dim=1)


def on_the_surface(eta, phi, pt=PT):
    pt, mask = pt.expand(len(eta), -1), torch.ones(len(eta), N_SLOTS, dtype=torch.bool)
    mass = torch.full((len(eta),), MASS, dtype=torch.float64)
    eta, phi, _ = constrain_mass(eta, phi, pt, mask, mass)
    return Constituents(eta, phi, pt, mask), mass[:, None]


def test_isotropic_angles_have_a_density_in_closed_form():
    model = GaussianAngles()
    jets, conditions = on_the_surface(*model.sample(50, 1))
    found = shape_log_prob(model, jets, conditions, nodes=801, reach=24.0)
    # int exp(-s^2 r^2 / 2 sigma^2) s^(d - 1) ds = 2^(d/2 - 1) Gamma(d / 2) (sigma / r)^d
    d = 2 * N_SLOTS
    radius = (jets.eta.square().sum(1) + jets.phi.square().sum(1)).sqrt()
    integral = (d / 2 - 1) * math.log(2) + gammaln(d / 2) - d * radius.log() - d / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(found, integral + _log_radial_share(jets), rtol=0, atol=1e-8)


def test_the_density_is_normalised_on_the_surface():
    """E of p / q is 1 for jets of density q, which is known in closed form, wherever p lies."""
    rng = torch.Generator().manual_seed(3)
    centre = 0.05 * torch.randn(2 * N_SLOTS, dtype=torch.float64, generator=rng)
    target = GaussianAngles(centre, width=0.06)
    jets, conditions = on_the_surface(*GaussianAngles().sample(60_000, 4))
    # of both the same integral over s, but of the proposal over all of it
    log_q = shape_log_prob(GaussianAngles(), jets, conditions, nodes=401, reach=24.0)
    ratio = (shape_log_prob(target, jets, conditions, nodes=401, reach=24.0) - log_q).exp()
    assert float(ratio.mean()) == pytest.approx(1.0, abs=4 * float(ratio.std()) / math.sqrt(len(ratio)))
    assert float(ratio.std()) > 0.5  # the two densities are not alike


def test_normal_of_the_surface_is_that_of_finite_differences():
    jets, _ = on_the_surface(*GaussianAngles().sample(5, 5))
    flat = torch.cat([jets.eta, jets.phi], dim=1)
    step, columns = 1e-6, []
    for column in range(flat.shape[1]):
        shift = torch.zeros_like(flat)
        shift[:, column] = step
        up, down = (mass_rel(*(flat + sign * shift).split(N_SLOTS, dim=1), jets.pt) for sign in (1, -1))
        columns.append((up - down) / (2 * step))
    gradient = torch.stack(columns, dim=1)
    expected = ((gradient * flat).sum(1).abs() / gradient.norm(dim=1)).log()
    torch.testing.assert_close(_log_radial_share(jets), expected, rtol=0, atol=1e-7)


class JitteredAngles(GaussianAngles):
    """What training aims at: any direction of the angles, and a log-normal scale of the width of the jitter."""

    scale_jitter = 0.1

    def log_prob(self, jets, conditions, *, pt_sum):
        d = 2 * N_SLOTS
        log_radius = 0.5 * (jets.eta.square().sum(1) + jets.phi.square().sum(1)).log()
        sphere = math.log(2) + d / 2 * math.log(math.pi) - gammaln(d / 2)
        offset = (log_radius - self.centre) / self.scale_jitter
        log_normal = -0.5 * offset**2 - math.log(self.scale_jitter) - 0.5 * math.log(2 * math.pi) - log_radius
        return log_normal - sphere - (d - 1) * log_radius


def test_the_default_quadrature_is_exact_for_what_training_aims_at():
    jets, conditions = on_the_surface(*GaussianAngles().sample(50, 7))
    log_radius = 0.5 * (jets.eta.square().sum(1) + jets.phi.square().sum(1)).log()
    model = JitteredAngles(log_radius + 0.1 * torch.linspace(-1.5, 1.5, 50, dtype=torch.float64))
    d = 2 * N_SLOTS
    sphere = math.log(2) + d / 2 * math.log(math.pi) - gammaln(d / 2)
    expected = -sphere - d * log_radius + _log_radial_share(jets)
    torch.testing.assert_close(shape_log_prob(model, jets, conditions), expected, rtol=0, atol=1e-8)


class JitteredMomenta(JitteredAngles):
    """Likewise of the transverse momenta: log-normal ones, independent, whose sum has another known density."""

    def __init__(self, centre, spread=0.1):
        super().__init__(centre)
        self.pt_sum, self.spread = self, spread

    def conditions(self, conditions):
        return conditions

    def log_prob(self, jets, conditions, *, pt_sum=None):
        if pt_sum is None:  # density of the sum
            return torch.zeros(len(conditions), dtype=torch.float64) + math.log(3.0)
        offset = (jets.pt.log() - PT.log()) / self.spread
        momenta = -0.5 * offset**2 - math.log(self.spread) - 0.5 * math.log(2 * math.pi) - jets.pt.log()
        return super().log_prob(jets, conditions, pt_sum=pt_sum) + momenta.sum(1)


def test_momenta_up_to_their_scale_have_a_density_in_closed_form():
    """int exp(-sum (a_i + v)^2 / 2 sigma^2) dv is a Gaussian integral."""
    jets, conditions = on_the_surface(*GaussianAngles().sample(50, 8))
    rng = torch.Generator().manual_seed(9)
    pt = PT * (0.1 * torch.randn(50, N_SLOTS, dtype=torch.float64, generator=rng)).exp()
    jets, conditions = on_the_surface(jets.eta, jets.phi, pt)
    log_radius = 0.5 * (jets.eta.square().sum(1) + jets.phi.square().sum(1)).log()
    model = JitteredMomenta(log_radius)
    d, n, sigma = 2 * N_SLOTS, N_SLOTS, model.spread
    sphere = math.log(2) + d / 2 * math.log(math.pi) - gammaln(d / 2)
    angles = -sphere - d * log_radius + _log_radial_share(jets)
    a = (pt / PT).log()
    gauss = -0.5 * (a - a.mean(1, keepdim=True)).square().sum(1) / sigma**2 + 0.5 * math.log(2 * math.pi / n)
    momenta = gauss + math.log(sigma) - n * (math.log(sigma) + 0.5 * math.log(2 * math.pi)) - pt.log().sum(1)
    expected = angles + momenta + pt.sum(1).log() + math.log(3.0)
    torch.testing.assert_close(shape_log_prob(model, jets, conditions), expected, rtol=0, atol=1e-7)


def test_a_flow_has_this_density(make_jets):
    jets = make_jets(200, n_slots=4, seed=9, min_constituents=3).ordered()
    settings = {"pt_sum": "exact", "scale_jitter": 0.1}
    config = JetFlow("exact", **settings, coupling={"blocks": 3, "width": 16, "depth": 1}).config
    data = make_tensors(jets, config, "cpu")
    model = JetFlowModel(4, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    model = model.double().eval()
    constituents = Constituents(*(v.double() if v.is_floating_point() else v for v in vars(data.constituents).values()))
    full = constituents.mask.all(1)  # of the others the empty slots are drawn
    constituents, conditions = (
        Constituents(*(v[full] for v in vars(constituents).values())),
        data.conditions[full].double(),
    )
    with torch.no_grad():
        few, many = (shape_log_prob(model, constituents, conditions, nodes=nodes, reach=24.0) for nodes in (49, 73))
    assert torch.isfinite(few).all()  # over a wide range: an untrained flow knows no scale
    torch.testing.assert_close(few, many, rtol=0, atol=0.03)


@pytest.mark.parametrize("settings", [{"preset": "cnf_mn"}, {"preset": "exact"}])
def test_other_generators_have_no_such_density(settings):
    model = JetFlowModel(3, JetFlow(**settings, coupling={"blocks": 2, "width": 8}).config)
    jets, conditions = on_the_surface(*GaussianAngles().sample(2, 6))
    with pytest.raises(ConfigError, match="scale_jitter"):
        shape_log_prob(model, jets, conditions)
