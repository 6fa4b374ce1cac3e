"""Memory on disk: what was added is there, in order, and a full disk is told."""

import random
import resource
import subprocess
import sys

import numpy as np
import pytest

from datagen.errors import ShardError
from datagen.spill import FIRST, Digests, Spilled, Texts


def test_numbers_come_back_in_order_past_several_growths(tmp_path):
    some = Spilled(np.float32, tmp_path)
    assert some.append(0.5) == 0
    wanted = np.arange(5 * FIRST, dtype=np.float32)
    assert some.extend(wanted) == 1
    assert some.values[0] == 0.5 and np.array_equal(some.values[1:], wanted)
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_texts_come_back_by_number(tmp_path):
    texts, said = Texts(tmp_path), ["two dogs", "", "café – eins", "x" * 70_000]
    assert [texts.add(t) for t in said] == [0, 1, 2, 3]
    assert [texts[i] for i in range(len(texts))] == list(texts) == said


def test_a_table_is_a_dictionary_that_never_forgets(tmp_path):
    table, wanted, rng = Digests(tmp_path), {}, random.Random(0)
    for _ in range(5000):
        key, number = str(rng.randrange(3000)), rng.randrange(-1, 2**40)
        table.add(key, number)
        wanted[key] = number
    assert len(table) == len(wanted)
    assert all(table.get(key) == number for key, number in wanted.items())
    assert "absent" not in table and table.get("absent") is None


def test_what_is_spilled_is_not_in_the_process_own_memory(tmp_path):
    code = (
        "import sys, pathlib, numpy as np\n"
        "from datagen.spill import Spilled\n"
        "def own():\n"
        "    lines = pathlib.Path('/proc/self/smaps_rollup').read_text().splitlines()\n"
        "    return sum(int(l.split()[1]) for l in lines if l.startswith('Anonymous:'))\n"
        "some, part = Spilled(np.uint8, pathlib.Path(sys.argv[1])), np.ones(1 << 20, np.uint8)\n"
        "some.extend(part); before = own()\n"
        "for _ in range(63): some.extend(part)\n"
        "print(own() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 8 * 1024  # KiB, of 64 MiB


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path):
    some = Spilled(np.uint8, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FIRST + 1, hard))
    try:
        with pytest.raises(ShardError, match=f"{tmp_path}: cannot be written: .*; free space"):
            some.extend(np.ones(4 * FIRST, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
