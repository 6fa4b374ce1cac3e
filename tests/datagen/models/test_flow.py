"""The sampler against a case that can be solved on paper, and guidance against numbers by hand."""

import pytest
import torch

from datagen.models.bagel.flow import guide, integrate, shifted, times

MEAN, SPREAD = 1.5, 0.4


def exact_velocity(x: torch.Tensor, t: float) -> torch.Tensor:
    """E[noise - image | x_t] when images are Gaussian: the flow that a perfect network would learn."""
    mean, variance = (1 - t) * MEAN, (1 - t) ** 2 * SPREAD**2 + t**2
    return -MEAN + (t - (1 - t) * SPREAD**2) / variance * (x - mean)


def error(steps: int, shift: float = 3.0) -> float:
    """Between where Euler ends and the closed form: the noise z becomes MEAN + SPREAD z."""
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    return float((integrate(exact_velocity, z, times(steps, shift)) - (MEAN + SPREAD * z)).abs().max())


def test_the_sampler_ends_where_the_closed_form_of_a_gaussian_says():
    assert error(4000) < 1e-3


def test_its_error_halves_when_its_steps_double():
    assert error(200) / error(400) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_run_from_noise_to_image_with_the_shift(shift):
    at = times(4, shift)
    assert at[0] == 1.0 and at[-1] == 0.0
    assert at == sorted(at, reverse=True)
    assert at[2] == pytest.approx(shift * 0.5 / (1 + (shift - 1) * 0.5))


def test_a_shift_of_one_changes_nothing():
    t = torch.rand(5)
    assert torch.equal(shifted(t, 1.0), t)


C = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])  # norms 5 and 2, together sqrt(29)
U = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])


def test_guidance_goes_from_the_unconditional_through_the_conditional():
    assert guide(C, U, 2.0).tolist() == [[[6.0, 8.0], [0.0, 3.0]]]


def test_global_renorm_caps_the_norm_of_the_whole_sample():
    k = (29 / 109) ** 0.5  # |C| / |v|, with |v|^2 = 36 + 64 + 9
    assert torch.allclose(guide(C, U, 2.0, "global"), torch.tensor([[[6 * k, 8 * k], [0.0, 3 * k]]]))


def test_global_renorm_is_by_sample_not_by_batch():
    alone = guide(C, U, 2.0, "global")
    together = guide(torch.cat([C, 9 * C]), torch.cat([U, U]), 2.0, "global")
    assert torch.allclose(together[:1], alone)


def test_channel_renorm_caps_the_norm_of_each_patch():
    assert torch.allclose(guide(C, U, 2.0, "channel"), torch.tensor([[[3.0, 4.0], [0.0, 2.0]]]))


def test_renorm_never_enlarges_and_keeps_to_its_floor():
    shrunk = guide(C, U, 0.5, "channel")
    assert torch.allclose(shrunk, guide(C, U, 0.5))
    assert torch.allclose(guide(C, U, 2.0, "channel", floor=0.9), torch.tensor([[[5.4, 7.2], [0.0, 2.7]]]))


def test_the_second_scale_goes_from_the_branch_without_the_trace():
    t = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    plain = guide(C, U, 2.0, "none", 0.0, t, 1.5)
    assert plain.tolist() == [[[8.5, 12.0], [0.0, 4.5]]]  # t + 1.5 ([6, 8], [0, 3] - t)


def test_text_channel_renorm_comes_before_the_second_scale():
    t = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    # each patch is first brought back to the conditional's, then the second scale is applied
    assert torch.allclose(
        guide(C, U, 2.0, "text_channel", 0.0, t, 1.5), torch.tensor([[[4.0, 6.0], [0.0, 3.0]]])
    )
