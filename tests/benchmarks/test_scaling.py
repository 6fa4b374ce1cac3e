"""The plan in docs/scaling.md is what the benchmark prints."""

from pathlib import Path

from benchmarks.scaling import Bagel, loop, needed, seconds_line, table
from datagen.models.bagel.config import BAGEL_7B
from datagen.models.bagel.flow import times

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_document_quotes_the_printed_lines():
    text = DOCUMENT.read_text()
    for line in (seconds_line(0.3), needed(0.3), *table(0.3, 2.5)):
        assert line in text


def test_the_readme_quotes_what_one_turn_takes():
    readme = (DOCUMENT.parents[1] / "README.md").read_text()
    assert all(line in readme for line in loop(0.3))


def test_the_sampler_that_is_charged_is_bagels_own():
    low, high = BAGEL_7B.cfg_interval
    at = times(BAGEL_7B.steps, BAGEL_7B.timestep_shift)[:-1]
    assert (Bagel.steps, Bagel.guided) == (len(at), sum(low < t <= high for t in at))
    assert BAGEL_7B.cfg_img == 1.0  # so that no third branch runs


def test_half_the_utilisation_draws_for_twice_as_long():
    assert Bagel().seconds(0.15)["draw"] == 2 * Bagel().seconds(0.3)["draw"]
