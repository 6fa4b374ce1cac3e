"""Which vocabulary a model knows, before it is loaded."""

import json
import sys
import types

import pytest

from datagen.errors import InputError
from datagen.models.vocabulary import vocabulary_of


@pytest.mark.parametrize(
    ("name", "vocabulary"),
    [
        ("pocket", "scenes"),
        ("fake", "scenes"),
        ("pocket?steps=4", "scenes"),
        ("bagel", "coco"),
        ("somebody/BAGEL-7B-MoT", "coco"),
    ],
)
def test_names_tell(name, vocabulary):
    assert vocabulary_of(name) == vocabulary


@pytest.mark.parametrize(
    ("config", "vocabulary"),
    [
        ({"model_type": "bagel", "codec": "pixels"}, "scenes"),
        ({"model_type": "bagel", "codec": "flux"}, "coco"),
        ({"model_type": "fake"}, "scenes"),
        ({"model_type": "janus"}, "coco"),
        ([], "coco"),
    ],
)
def test_a_checkpoint_tells_by_its_config(tmp_path, config, vocabulary):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert vocabulary_of(str(tmp_path)) == vocabulary


def test_a_trained_pocket_is_still_a_pocket(tmp_path):
    from datagen.models.fake import FakeModel

    FakeModel().save(str(tmp_path))
    assert vocabulary_of(str(tmp_path)) == "scenes"


def test_a_function_of_ones_own_may_say(monkeypatch):
    module = types.ModuleType("mine")
    module.load = lambda name, device="cpu": None
    monkeypatch.setitem(sys.modules, "mine", module)
    assert vocabulary_of("mine:load") == "coco"
    module.load.vocabulary = "scenes"
    assert vocabulary_of("mine:load") == "scenes"
    with pytest.raises(InputError, match="cannot be imported"):
        vocabulary_of("mine:nothing")
