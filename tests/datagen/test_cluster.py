"""Ray as it is joined: what this machine has no room for is refused before anything starts."""

import os

import pytest

from datagen.cluster import CPUS, ray_session
from datagen.errors import InputError


def test_more_workers_than_processors_can_run_are_refused():
    cores = os.cpu_count()
    many = int(cores / CPUS) + 1
    with (
        pytest.raises(
            InputError, match=f"{many} workers want {many * CPUS:g} CPUs and this machine has {cores}"
        ),
        ray_session(many, None),
    ):
        pass


def test_an_elastic_pool_needs_room_for_its_least_alone():
    import ray

    with ray_session(1000, None, 1):
        assert ray.cluster_resources()["CPU"] == min(1000, os.cpu_count())
    assert not ray.is_initialized()
