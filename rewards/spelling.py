"""What the judges of lettering share: which strings are wanted, and the score of what was read.

Value is the mean similarity of the wanted spans, each with the lines that fit it best; a tenth is
taken off when all were found but in another order, so that 1.0 means right. ``details`` hold the
edit distance, completion and word accuracy of OneIG-Bench, and the share of text nobody asked for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen.sample import Sample, Score
from rewards.base import Card, readable
from rewards.batches import score_images
from rewards.strings import MAX_LENGTH, edit_distance, extra, in_order, match, plain, quoted

if TYPE_CHECKING:
    from PIL.Image import Image

OUT_OF_ORDER = 0.9


def spans(sample: Sample) -> tuple[str, ...]:
    """The strings that must be legible: the target's, or else every quoted span of the prompt.

    Raises ``ValueError`` when they are too long to be lettering.
    """
    wanted = sample.target.text or quoted(sample.prompt)
    if (length := sum(map(len, wanted))) > MAX_LENGTH:
        raise ValueError(f"lettering of {length} characters is asked for; at most {MAX_LENGTH} are judged")
    wanted = tuple(readable(w) for w in wanted)
    return tuple(w for w in wanted if plain(w))


def spell(name: str, wanted: Sequence[str], lines: Sequence[str]) -> Score:
    """The score of ``lines`` read from the picture, in reading order."""
    lines = [readable(line, MAX_LENGTH) for line in lines]
    found = match(wanted, lines)
    ordered = in_order(found)
    value = sum(m.similarity for m in found) / len(found)
    reasons = [f"expected text {m.wanted!r}, found {m.read or 'none'!r}" for m in found if not m.complete]
    if not ordered:
        value *= OUT_OF_ORDER
        reasons.append("the texts stand in another order")
    details = {
        "read": lines,
        "edit_distance": sum(edit_distance(plain(m.wanted), plain(m.read)) for m in found),
        "completion": sum(m.complete for m in found) / len(found),
        "word_accuracy": sum(m.words for m in found) / len(found),
        "extra": extra(found, lines),
        "ordered": ordered,
    }
    return Score(name, value, "\n".join(reasons), details)


class SpellingReward:
    """A judge of lettering; a subclass reads the lines off a batch of pictures."""

    name = ""
    heldout = False
    card: Card

    def read(self, images: "list[Image]") -> list[list[str]]:
        """The lines of text in each picture, in reading order."""
        raise TypeError(f"{type(self).__name__} does not say how it reads")

    def refuses(self, image: "Image") -> str:
        """Why this judge cannot read such a picture, or nothing."""
        return ""

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        asked: list[int] = []
        done: dict[int, Score] = {}
        for i, sample in enumerate(samples):
            try:
                if spans(sample):
                    asked.append(i)
                else:
                    done[i] = Score(self.name, None, "no text is asked for")
            except ValueError as error:
                done[i] = Score(self.name, None, str(error))

        def judge(images: "list[Image]", batch: list[Sample]) -> list[Score]:
            refused = [self.refuses(image) for image in images]
            readings = iter(self.read([i for i, why in zip(images, refused, strict=True) if not why]))
            return [
                Score(self.name, None, why) if why else spell(self.name, spans(sample), next(readings))
                for sample, why in zip(batch, refused, strict=True)
            ]

        scores = score_images(self.name, self.card, [samples[i] for i in asked], judge)
        done.update(zip(asked, scores, strict=True))
        return [done[i] for i in range(len(samples))]
