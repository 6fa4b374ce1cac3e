"""The one record that flows through the journey, and the two values it carries.

``Target`` says what must be true of the image, ``Score`` is one judge's value, ``Sample`` is one
candidate (trace + image) of one prompt; everything the journey learns about it becomes a field.
All are frozen: a stage returns ``dataclasses.replace(sample, ...)``. Standard library only, so that
rewards, trainer and workers can share them without importing each other.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Transition = Literal["model", "forced", "none"]

RELATIONS = ("left of", "right of", "above", "below")
MIRROR = {
    "left of": "right of", "right of": "left of", "above": "below", "below": "above",
    "in front of": "behind", "behind": "in front of",
}  # fmt: skip
_SECOND = ("right of", "below", "in front of")  # said by its mirror in a key


@dataclass(frozen=True)
class Clause:
    """``count`` objects of class ``cls``; ``position`` = (relation, index of an earlier clause).

    ``state`` is what is true of each of them beyond colour and size, as a predicate: ``bent``,
    ``standing upside down``, ``wooden``.
    """

    cls: str
    count: int = 1
    color: str | None = None
    size: str | None = None
    position: tuple[str, int] | None = None
    state: str | None = None

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"class": self.cls, "count": self.count}
        if self.color:
            row["color"] = self.color
        if self.size:
            row["size"] = self.size
        if self.position:
            row["position"] = [self.position[0], self.position[1]]
        if self.state:
            row["state"] = self.state
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Clause":
        position = row.get("position")
        return cls(
            cls=row["class"],
            count=int(row.get("count", 1)),
            color=row.get("color"),
            size=row.get("size"),
            position=(str(position[0]), int(position[1])) if position else None,
            state=row.get("state"),
        )


@dataclass(frozen=True)
class Atom:
    """A question about the picture and the answer that is right, for judges that look and answer.

    ``needs`` are indices of atoms that must hold for the question to make sense, counted as
    ``rewards.atoms`` lists them: first every clause's presence, colour and size.
    """

    question: str
    answer: str = "yes"
    kind: str = "atom"
    needs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """What must be true of the image, in the shape of GenEval's metadata, and what goes beyond it.

    ``exclude`` lists what must not be there: ``Clause("circle", count=3)`` means fewer than three.
    ``text`` are the strings that must be legible. ``tag`` is the skill that is tested. ``style`` and
    ``setting`` hold of the whole image (``an oil painting``; ``in a kitchen``). ``facts`` are the hints
    that the prompt gives instead of the words that the other fields hold: "the colour of coal".
    """

    tag: str
    include: tuple[Clause, ...] = ()
    exclude: tuple[Clause, ...] = ()
    text: tuple[str, ...] = ()
    style: str = ""
    setting: str = ""
    facts: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Canonical form: equal for two prompts that ask for the same image, whatever their words.

        Clauses are sorted, "A left of B" is "B right of A", and hints are resolved. What is absent
        counts; GenEval's upper bound of a count does not. Fields a target does not use add nothing, so
        that keys, and with them the held-out split, stay what they were before there were such fields.
        """
        things = [_thing(c) for c in self.include]
        relations = []
        for clause, thing in zip(self.include, things, strict=True):
            if clause.position:
                relation, other = clause.position
                pair = [thing, relation, things[other]]
                if relation in _SECOND:
                    pair = [things[other], MIRROR[relation], thing]
                relations.append(pair)
        parts: list[Any] = [sorted(things), sorted(relations), sorted(self.text)]
        absent = sorted(_thing(c) for c in self.exclude if c.count == 1)
        if absent or self.style or self.setting:
            parts += [absent, self.style, self.setting]
        return json.dumps(parts, separators=(",", ":"))

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """What clauses, exclusions and strings do not ask yet: states, the setting, the style."""
        found: list[Atom] = []
        place = 0
        for c in self.include:
            if c.state:
                question = f"Is {'the' if c.count == 1 else 'every'} {c.cls} {c.state}?"
                found.append(Atom(question, kind="state", needs=(place,)))
            place += 1 + bool(c.color) + bool(c.size)
        if self.setting:
            found.append(Atom(f"Is the scene {self.setting}?", kind="setting"))
        if self.style:
            found.append(Atom(f"Is the image in the style of {self.style}?", kind="style"))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"tag": self.tag, "include": [c.to_dict() for c in self.include]}
        if self.exclude:
            row["exclude"] = [c.to_dict() for c in self.exclude]
        if self.text:
            row["text"] = list(self.text)
        row |= {name: value for name in ("style", "setting") if (value := getattr(self, name))}
        if self.facts:
            row["facts"] = list(self.facts)
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Target":
        return cls(
            tag=row["tag"],
            include=tuple(Clause.from_dict(c) for c in row.get("include", ())),
            exclude=tuple(Clause.from_dict(c) for c in row.get("exclude", ())),
            text=tuple(row.get("text", ())),
            style=row.get("style", ""),
            setting=row.get("setting", ""),
            facts=tuple(row.get("facts", ())),
        )


def _thing(c: Clause) -> list[Any]:
    return [c.cls, c.count, c.color or "", c.size or "", *([c.state] if c.state else [])]


@dataclass(frozen=True)
class Score:
    """One judge's value in [0, 1] and its reason; ``value=None`` means unscored, which is not 0."""

    name: str
    value: float | None
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One candidate of one prompt. A prompt that is not rendered yet is a Sample without an image."""

    prompt: str
    target: Target
    id: str = ""
    group_id: str = ""
    recipe: str = ""
    weakness: str = ""
    trace: str = ""
    trace_source: str = ""
    seed: int = 0
    candidate: int = 0
    image: bytes | None = None  # PNG
    latent: bytes | None = None  # of a model with an autoencoder, see ``datagen.models.latent``
    transition: Transition = "none"
    scores: tuple[Score, ...] = ()
    reward: float | None = None
    advantage: float | None = None
    text_weight: float = 0.0
    image_weight: float = 0.0
    dropped: str = ""  # the reason; empty: kept
    model: str = ""
    llm: str = ""

    def score(self, name: str) -> float | None:
        """The value that judge ``name`` gave, or None."""
        return next((s.value for s in self.scores if s.name == name), None)


def content_id(*parts: object) -> str:
    """16 hex digits of a hash over the parts: the same content has the same id on every machine."""
    text = json.dumps([str(p) for p in parts], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_seed(*parts: object) -> int:
    """A 63-bit seed that belongs to the content (recipe, prompt, k), never to a worker."""
    text = json.dumps(["seed", *[str(p) for p in parts]], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
