"""Traces written outside the model: every one is a layout that satisfies its target."""

import pytest

from datagen.errors import InputError
from datagen.llm.base import Reply
from datagen.llm.template import TemplateLLM
from datagen.sample import Clause, Sample, Target
from datagen.scenes.layout import layout_satisfies, parse_layout
from datagen.targets import VOCABULARIES, sample_targets
from datagen.traces import write_traces

SAMPLES = [
    Sample(f"p{i}", t) for i, t in enumerate(sample_targets("position", VOCABULARIES["scenes"], 20, 0, {}))
]


class Fixed:
    """An LLM that does the same thing to every phrase."""

    name = "fixed"

    def __init__(self, change):
        self.change = change

    def write(self, requests):
        return [Reply(self.change(r.phrase)) for r in requests]


@pytest.mark.parametrize(
    ("source", "llm"),
    [
        ("template", TemplateLLM()),
        ("llm", TemplateLLM()),  # puts words around the layout
        ("llm", Fixed(lambda phrase: "")),
        ("llm", Fixed(lambda phrase: "red star top left")),  # a layout, of something else
    ],
)
def test_a_trace_always_satisfies_its_target(source, llm):
    for sample, trace in zip(SAMPLES, write_traces(SAMPLES, source, llm), strict=True):
        assert trace.source == "template" or isinstance(llm, TemplateLLM)  # which may add no word at all
        placed = parse_layout(trace.text)
        assert placed is not None
        assert layout_satisfies(placed, sample.target)[0]


def test_a_layout_that_the_llm_rearranged_is_kept():
    turned = write_traces(
        SAMPLES, "llm", Fixed(lambda p: " ; ".join(reversed(p.split(" ; "))).capitalize() + ".")
    )
    drawn = write_traces(SAMPLES, "template", TemplateLLM())
    assert [t.text for t in turned] == [" ; ".join(reversed(t.text.split(" ; "))) for t in drawn]
    assert {t.source for t in turned} == {"llm"}


def test_a_layout_is_kept_as_the_model_writes_it_whatever_the_case():
    sample = Sample("a sign that says KEY", Target("text", text=("KEY",)))
    own = write_traces([sample], "template", TemplateLLM())[0].text
    assert "K one E two Y three" in own
    for change in (str.lower, str.upper, str.capitalize, lambda phrase: f"  {phrase.title()}. "):
        assert write_traces([sample], "llm", Fixed(change))[0] == (own, "llm")


def test_an_unknown_source_lists_the_valid_ones():
    with pytest.raises(InputError, match="llm, template"):
        write_traces(SAMPLES, "self", TemplateLLM())


def test_a_target_that_no_layout_satisfies_is_named():
    impossible = Sample("a", Target("x", (Clause("star", 10),)))
    with pytest.raises(InputError, match=r"no layout satisfies .*star.*10.*valid: trace: self"):
        write_traces([impossible], "template", TemplateLLM())
