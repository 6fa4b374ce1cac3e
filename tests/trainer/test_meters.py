"""What the log says of weights."""

import pytest
import torch

from trainer.meters import histogram


def test_every_weight_is_in_one_bar_of_the_histogram():
    bars = histogram(torch.tensor([0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 4.0, 9.0]))
    assert bars == pytest.approx(
        {"0": 2 / 8, "0-0.5": 2 / 8, "0.5-1": 1 / 8, "1-2": 1 / 8, "2-4": 1 / 8, "over 4": 1 / 8}
    )
