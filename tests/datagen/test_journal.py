"""The journal: what a worker died on, how often, and why."""

import ctypes
import os
import signal
import time

import pytest

from datagen.errors import ShardError
from datagen.journal import KILLED, Journal


def dies(path, key, how, seconds=0.0, node=""):
    """Try ``key`` in a process of its own; its wait status."""
    child = os.fork()
    if child == 0:
        with Journal(path, node).attempt(key, seconds):
            how()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    ctypes.string_at(0)


def hang():
    time.sleep(60)


def fill():
    raise MemoryError("not enough")


@pytest.mark.parametrize(
    "how, seconds, reason",
    [
        (kill, 0, KILLED),
        (crash, 0, "Segmentation fault: File"),
        (hang, 0.2, "hung: File"),
        (fill, 0, "out of memory: not enough"),
    ],
)
def test_a_death_is_counted_with_its_reason(tmp_path, how, seconds, reason):
    path = tmp_path / "j"
    for n in range(3):
        assert Journal(path).deaths["a"] == n
        assert dies(path, "a", how, seconds) != 0
    found = Journal(path)
    assert (found.deaths, found.passed) == ({"a": 3}, set())
    assert found.reasons["a"].startswith(reason)


def test_what_passed_is_known_and_what_ends_in_an_error_killed_nobody(tmp_path):
    path = tmp_path / "j"
    assert dies(path, "a", lambda: None) == 0
    with pytest.raises(ValueError), Journal(path).attempt("b"):
        raise ValueError
    found = Journal(path)
    assert (found.deaths, found.passed) == ({}, {"a"})


def test_a_death_with_the_whole_node_does_not_count(tmp_path):
    path = tmp_path / "j"
    dies(path, "a", kill, node="gone")
    assert not Journal(path, "here", lambda node: node != "gone").deaths
    dies(path, "a", kill, node="here")
    assert Journal(path, "here", lambda node: node != "gone").deaths == {"a": 1}


def test_a_torn_line_is_passed_over(tmp_path):
    path = tmp_path / "j"
    dies(path, "a", kill)
    with path.open("a") as file:
        file.write('{"beg')
    assert dies(path, "a", kill) != 0
    assert Journal(path).deaths == {"a": 2}


def test_a_closed_journal_leaves_no_file(tmp_path):
    journal = Journal(tmp_path / "j")
    with journal.attempt("a"):
        pass
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path):
    journal = Journal(tmp_path / "j")
    (tmp_path / "j").symlink_to("/dev/full")  # after: reading it has no end
    said = "No space left on device; free space and run again"
    with pytest.raises(ShardError, match=said), journal.attempt("a"):
        raise AssertionError("work began without its journal")
