"""What tests of training share: weights of a folder, batches and samples by hand, a stop at a step."""

import dataclasses

import torch

from datagen.models.base import UnifiedBatch
from datagen.sample import Clause, Sample, Target
from trainer.parameters import part


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def moved(before, after, generation: bool):
    return any(
        not torch.equal(before[k], after[k]) for k in before if (part(k) == "generation") == generation
    )


def batch(text, image):
    n = len(text)
    zeros, ones = torch.zeros(n, 1, dtype=torch.long), torch.ones(n, 1, dtype=torch.bool)
    return UnifiedBatch(
        zeros, ones, ones, zeros, torch.zeros(n, 1), ones[:, 0], torch.tensor(text), torch.tensor(image)
    )


def sample(**changes):
    target = Target("counting", (Clause("circle", 2),))
    return dataclasses.replace(Sample("two circles", target, trace="red circle top left"), **changes)


class Stop(Exception):
    pass


def stop_at(step):
    def progress(stage, done, total):
        if done == step:
            raise Stop

    return progress
