"""Voxel preprocessing: bijection and volume, zeros, energy conservation at any input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from calofast.config import PreprocessingConfig
from calofast.voxels import VoxelTransform

SIZES = (6, 4, 2)
KINDS = ["log", "logit"]


def _data(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    voxels = 100 * torch.rand(n, sum(SIZES), generator=generator, dtype=torch.float64).pow(4)
    voxels[torch.rand(n, sum(SIZES), generator=generator) < 0.2] = 0.0
    voxels[:, 0] += 1.0
    voxels[: n // 3, 10:] = 0.0  # empty last layer
    context = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return voxels, context


def _fitted(kind: str, **more: object) -> tuple[VoxelTransform, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    config = PreprocessingConfig.model_validate({"voxels": kind, **more})
    transform = VoxelTransform(SIZES, 2, config).double()
    voxels, context = _data(400)
    torch.manual_seed(1)
    dequantised = transform.dequantise(voxels)
    energies = transform.layer_energies(voxels, dequantised)
    transform.fit(dequantised, energies, context)
    return transform, voxels, dequantised, energies, context


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_and_log_determinant(kind: str) -> None:
    transform, _, dequantised, energies, context = _fitted(kind)
    y, log_det = transform(dequantised, energies, context)
    back = transform.inverse(y, energies, context)
    torch.testing.assert_close(back, dequantised, rtol=1e-6, atol=1e-7)
    for i in (0, 200, 399):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, i=i: transform(v[None], energies[i : i + 1], context[i : i + 1])[0][0], dequantised[i]
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet.item()
        assert log_det[i].item() == pytest.approx(expected, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_dequantised_voxels_are_positive_and_keep_the_lit_ones(kind: str) -> None:
    transform, voxels, dequantised, energies, _ = _fitted(kind)
    assert (dequantised > 0).all()
    assert (energies > 0).all()
    lit = voxels >= 0.01
    if kind == "log":
        assert torch.equal(dequantised[lit], voxels[lit])
        assert (dequantised[~lit] < 0.01).all()
    else:
        assert float((dequantised - voxels).min()) >= 0
        assert float((dequantised - voxels).max()) <= 1e-3
        torch.testing.assert_close(energies, dequantised @ transform.members)


def test_log_showers_come_back_as_they_were() -> None:
    """Dequantise, transform, invert and restore: zeros are zeros again, lit voxels are unchanged."""
    transform, voxels, dequantised, energies, context = _fitted("log")
    y, _ = transform(dequantised, energies, context)
    again = transform.apply_threshold(transform.to_showers(transform.inverse(y, energies, context), energies), energies)
    visible = torch.where(voxels >= 0.01, voxels, torch.zeros_like(voxels))
    torch.testing.assert_close(again, visible, rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 1000), spread=st.floats(0.1, 30.0), kind=st.sampled_from(KINDS), sparse=st.booleans())
def test_any_latent_gives_layers_with_the_energy_of_the_first_stage(
    seed: int, spread: float, kind: str, sparse: bool
) -> None:
    transform, _, _, energies, context = _fitted(kind)
    transform = transform.float()
    transform.spectrum.note_sparse([0.1 if sparse else 0.9] * 3)
    generator = torch.Generator().manual_seed(seed)
    y = spread * torch.randn(400, sum(SIZES), generator=generator)
    voxels = transform.to_showers(transform.inverse(y, energies.float(), context.float()), energies.float())
    assert torch.isfinite(voxels).all()
    assert (voxels >= 0).all()
    target = transform.final_energies(energies.float())
    torch.testing.assert_close(voxels @ transform.members, target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("restore", [False, True])
def test_threshold(restore: bool) -> None:
    transform, *_ = _fitted("log", renormalise_after_threshold=restore)
    voxels = torch.tensor([[5.0, 0.004, 0, 0, 0, 0, 1.0, 0.009, 0, 0, 0, 0]], dtype=torch.float64)
    energies = voxels @ transform.members
    kept = transform.apply_threshold(voxels, energies)
    assert ((kept == 0) | (kept >= 0.01)).all()
    assert (kept[0, 1], kept[0, 7]) == (0, 0)
    expected = energies if restore else torch.tensor([[5.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(kept @ transform.members, expected)


def test_layers_below_the_threshold_are_empty() -> None:
    transform, *_ = _fitted("log")
    energies = torch.tensor([[3.0, 0.009, 0.011]], dtype=torch.float64)
    voxels = transform.to_showers(torch.full((1, 12), 1e-4, dtype=torch.float64), energies)
    torch.testing.assert_close(voxels @ transform.members, torch.tensor([[3.0, 0.0, 0.011]], dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_number_stays_visible(kind: str) -> None:
    """Damaged weights give NaN: no error of an index, no plausible zeros."""
    transform, _, dequantised, energies, _ = _fitted(kind)
    dequantised[3, 1] = torch.nan
    voxels = transform.apply_threshold(transform.to_showers(dequantised, energies), energies)
    assert torch.isnan(voxels[3, : SIZES[0]]).any()
    energies[3, 0] = torch.nan
    assert torch.isnan(transform.final_energies(energies)[3, 0])
    assert torch.isfinite(voxels[4:]).all()


def test_small_differences_are_the_bright_voxels_of_sparse_layers() -> None:
    """A line stays a line in layer 0; layer 1, which is not sparse, is scaled."""
    transform, *_ = _fitted("log")
    transform.spectrum.note_sparse([0.1, 0.9, 0.9])
    made = torch.tensor([[40.0, 0.511, 0.511, 1e-4, 1e-4, 1e-4, 40.0, 0.511, 1e-4, 1e-4, 1.0, 1.0]]).double()
    energies = 1.02 * torch.tensor([[41.022, 40.511, 2.0]], dtype=torch.float64)
    voxels = transform.to_showers(made, energies)
    torch.testing.assert_close(voxels @ transform.members, energies)
    assert voxels[0, 1] == pytest.approx(0.511, rel=4e-4)
    assert voxels[0, 7] == pytest.approx(1.02 * 0.511)
    assert voxels[0, 0] == pytest.approx(40 + 0.02 * 41.022, rel=1e-4)


@pytest.mark.parametrize("factor", [0.1, 0.3, 3.0, 1e3])
def test_large_differences_keep_the_order_of_the_voxels_of_sparse_layers(factor: float) -> None:
    transform, *_ = _fitted("log")
    transform.spectrum.note_sparse([0.1, 0.1, 0.1])
    made = 10 * torch.rand(50, 12, generator=torch.Generator().manual_seed(0)).double() + 0.2
    voxels = transform.to_showers(made, factor * (made @ transform.members))
    for old, new in zip(made.split(SIZES, dim=1), voxels.split(SIZES, dim=1), strict=True):
        assert (new > 0).all()
        assert torch.equal(old.argsort(1), new.argsort(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dark_width": 2.0}, "dark_width must be at most 0.815 with dark_mean -2.5"),
        ({"dark_mean": -0.01}, "dark_width must be at most"),
        ({"dark_mean": -100.0}, "dark_mean must be at least -20"),
    ],
)
def test_dark_and_lit_voxels_have_to_be_apart(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PreprocessingConfig.model_validate(settings)
    PreprocessingConfig.model_validate({"voxels": "logit", **settings})


def test_at_the_largest_width_few_dark_voxels_are_taken_for_lit_ones() -> None:
    config = PreprocessingConfig(dark_mean=-4.0, dark_width=1.3)
    transform = VoxelTransform((500,), 1, config)
    torch.manual_seed(1)
    voxels = torch.zeros(200, 500)
    voxels[:, 0] = 5.0
    again = transform.to_showers(transform.dequantise(voxels), voxels.sum(1, keepdim=True))
    assert (again > 0).double().mean() < 0.015
