"""What a model can be called: a name, a folder, a Hub id, options."""

from dataclasses import dataclass

import pytest

from datagen.errors import InputError, ModelError
from datagen.models import hub, options, resolve_folder


@dataclass(frozen=True)
class Some:
    size: int = 3
    scale: float = 1.0
    word: str = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    maybe: float | None = None


def test_options_follow_a_question_mark_and_keep_their_types():
    base, found = options.split("bagel:owner/name?size=5&scale=2&word=global&pair=[0.4,1]&maybe=0.5")
    assert base == "bagel:owner/name"
    assert options.apply(Some(), found, "x") == Some(5, 2.0, "global", (0.4, 1), 0.5)
    assert options.split("bagel") == ("bagel", {})


@pytest.mark.parametrize("query", ["size=big", "scale=[1]", "word=3", "size=true"])
def test_an_option_of_another_type_names_itself(query):
    with pytest.raises(InputError, match=r"option .* valid: a"):
        options.apply(Some(), options.split(f"x?{query}")[1], "model 'x'")


def test_an_option_that_is_none_lists_the_valid_ones():
    with pytest.raises(InputError, match="unknown option 'siz'; valid: maybe, pair, scale, size, word"):
        options.apply(Some(), {"siz": 1}, "model 'x'")
    with pytest.raises(InputError, match="key=value"):
        options.split("x?size")


@pytest.mark.parametrize(("name", "is_one"), [
    ("owner/name", True), ("./owner", False), ("/a/b", False), ("a/b/c", False), ("name", False), ("owner/", False),
])  # fmt: skip
def test_a_hub_id_is_an_owner_and_a_name(name, is_one):
    assert hub.is_hub_id(name) is is_one


def test_a_folder_is_itself_and_a_hub_id_is_its_snapshot(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert hub.fetch(str(tmp_path)) == tmp_path
    assert hub.fetch("owner/name", ("*.json",)) == tmp_path
    assert asked == [("owner/name", ["*.json"])]
    with pytest.raises(ModelError, match="neither a folder nor a Hub id"):
        hub.fetch("name")


def test_what_a_hub_id_holds_decides_its_loader(tmp_path, monkeypatch):
    from datagen.models import janus, pipelines

    monkeypatch.setattr(hub, "fetch", lambda name, patterns: tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "janus"}')
    assert resolve_folder("owner/name") is janus.load
    (tmp_path / "model_index.json").write_text("{}")
    assert resolve_folder("owner/name") is pipelines.load
