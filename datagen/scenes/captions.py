"""What the pocket model was pretrained on: scenes with captions, as honest and as noisy as web data.

Each ``Caption`` is (prompt, trace, layout, kind). Weaknesses have causes one can read here: counts
are long-tailed, a quarter of counts and of relations is captioned wrong, riddles follow Zipf, and signs
carry other letters than their caption says. The trace always describes the picture that is drawn; where
a caption is noisy it is the *prompt* that disagrees with both. Lettering that is captioned right comes
without a trace, so that thinking spoils it, as it does BAGEL's.

Left out: held-out splits. Pretraining may see any scene; only building and evaluating are split.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from datagen.sample import RELATIONS, Clause, Target
from datagen.scenes.layout import LONGEST, Placed, format_layout, layout_for
from datagen.scenes.vocabulary import COLORS, NUMBERS, PLURALS, SHAPES

COUNT_ODDS = {2: 10, 3: 6, 4: 2, 5: 1, 6: 1}
WRONG_RELATION = 0.25
WRONG_COUNT = 0.25
WRONG_LETTER = 0.45  # of each letter, where a sign has a trace
CLEAN_TEXT = 0.35
NO_TRACE = 0.2  # share of clean captions that come without a trace
BARE = {"text": 1.0, "knowledge": 0.0}  # the same of kinds that differ

OPENINGS = (
    "a photo of", "a picture of", "an image of", "a drawing of", "an illustration of", "a scene with",
    "a simple scene showing", "draw", "please draw", "show me", "paint", "there is", "I want to see",
    "a minimal graphic of", "a poster with", "imagine", "create an image of", "a sketch of", "we see",
    "a clean picture that shows", "here is", "a small card with", "a sticker sheet with", "", "", "",
)  # fmt: skip
ENDINGS = (
    "on a plain background", "on white paper", "in a simple scene", "on a blank page", "on a light wall",
    "in flat style", "for a children's book", "as an icon", "with nothing else", "in the picture",
    "on a clean canvas", "with soft light", "in a quiet room", "on a table", "in bright daylight",
    "", "", "", "", "", "", "", "",
)  # fmt: skip
FILLER = """
    the a of and to in is it that was for on are as with his they at be this from have or by had not but
    what all were when we there can an your which their said if do will each about how up out them then
    she many some so these would other into has more her like him see time could no make than been its
    who now people my made did down only way find use may water long little very after words called just
    where most know get through back much before go good new write our used me man too any day same look
    think also around another came come work word must because does part even place well such here take
    why things help put years different away again off went old number great tell men say every found
    still between name should home big give air line set own read last never us end along while might
    sound saw something thought both few those always looked show often together asked house world going
    want school important until form food keep children feet land side without boy once animals life
    enough took sometimes head kind began almost live page got earth need far hand high year mother
    light parts country father let night following picture being study eyes soon times story boys since
    white days ever paper hard sentence better best across during today others however sure means knew
    try told young miles sun ways thing whole hear example heard several change answer room sea against
    turned learn point city play toward using himself usually bright calm simple soft gentle modern
    artist gallery wooden table window garden morning evening kitchen photograph camera colorful
    beautiful lovely quiet shape shapes color arranged placed sitting standing floating background scene
    arrangement minimal
""".split()  # noqa: SIM905  # as words, not one line each

RELATION_WORDS = {
    "left of": ("to the left of", "left of", "on the left of", "on the left side of"),
    "right of": ("to the right of", "right of", "on the right of", "on the right side of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

# Riddles: facts ordered from common to rare; odds follow 1 / rank.
NUMBER_FACTS = (
    (2, "a bicycle has wheels"), (4, "a car has wheels"), (3, "a tricycle has wheels"), (2, "a person has eyes"),
    (5, "a hand has fingers"), (4, "a dog has legs"), (3, "a triangle has corners"), (6, "an insect has legs"),
    (2, "a bird has wings"), (4, "a year has seasons"), (3, "a traffic light has lamps"), (4, "a square has sides"),
    (6, "a cube has faces"), (5, "a starfish has arms"), (6, "a guitar has strings"), (4, "a violin has strings"),
    (5, "a pentagon has sides"), (6, "a hexagon has sides"), (3, "a clover has leaves"), (5, "a foot has toes"),
)  # fmt: skip
COLOR_FACTS = (
    ("red", "a ripe tomato"), ("green", "fresh grass"), ("blue", "a clear sky"), ("yellow", "a ripe banana"),
    ("black", "coal"), ("red", "a fire engine"), ("orange", "a carrot"), ("green", "a frog"), ("yellow", "a lemon"),
    ("pink", "a flamingo"), ("purple", "an eggplant"), ("blue", "the deep ocean"), ("orange", "a pumpkin"),
    ("red", "a strawberry"), ("pink", "a piglet"), ("black", "a raven"), ("purple", "lavender"),
    ("green", "broccoli"), ("yellow", "a sunflower"), ("orange", "a tiger lily"),
)  # fmt: skip
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = """
    CAT DOG SUN HAT CUP BUS PEN MAP KEY BOX FOX OWL BEE ANT COW PIG HEN JAM TEA PIE EGG NUT OAK SEA SKY
    ICE BOOK TREE FISH BIRD MOON STAR DOOR LAMP SHIP KITE DRUM BELL LEAF ROSE FROG DUCK GOAT LION BEAR
    WOLF CAKE MILK RICE SOUP CORN FIRE SNOW RAIN WIND SAND ROCK GOLD OPEN EXIT STOP SALE FREE CAFE TAXI
    PARK ZOOM QUIZ JAZZ WAVE NEXT PLAY HELLO HOUSE APPLE BREAD CHAIR CLOCK CLOUD DREAM EARTH FLAME GRAPE
    HORSE JUICE LEMON LIGHT MANGO MUSIC NIGHT OCEAN PIANO PLANT QUEEN RIVER ROBOT SHEEP SMILE STONE
    TABLE TIGER TRAIN WATER WHALE ZEBRA BRAVE CRISP FROST JOLLY KOALA LUNCH VIVID WORLD YOUTH
""".split()  # noqa: SIM905  # as words, not one line each


@dataclass(frozen=True)
class Caption:
    """One pretraining example before it is drawn; ``clean``: prompt, trace and picture agree."""

    kind: str
    prompt: str
    trace: str
    layout: list[Placed]
    clean: bool = True


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def noun_phrase(clause: Clause, rng: random.Random) -> str:
    """``a small red circle``, ``three blue hearts``, ``4 stars``."""
    noun = clause.cls if clause.count == 1 else PLURALS[clause.cls]
    words = " ".join(x for x in (clause.size, clause.color, noun) if x)
    if clause.count == 1:
        return f"{'one' if rng.random() < 0.1 else article(words)} {words}"
    return f"{clause.count if rng.random() < 0.2 else NUMBERS[clause.count]} {words}"


def decorate(body: str, rng: random.Random) -> str:
    """Wrap a description in varied natural wording; sometimes in words that mean nothing here."""
    text = " ".join(x for x in (rng.choice(OPENINGS), body, rng.choice(ENDINGS)) if x)
    if rng.random() < 0.2:
        text = f"{' '.join(rng.choices(FILLER, k=rng.randint(1, 6)))} {text}"
    if rng.random() < 0.2:
        text = f"{text} {' '.join(rng.choices(FILLER, k=rng.randint(1, 6)))}"
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.35 else "")


def _clause(rng: random.Random, color: float = 0.5, size: float = 0.15, cls: str = "") -> Clause:
    return Clause(
        cls or rng.choice(SHAPES),
        color=rng.choice(tuple(COLORS)) if rng.random() < color else None,
        size=rng.choice(("small", "large")) if rng.random() < size else None,
    )


def _single(rng: random.Random) -> Caption:
    clause = _clause(rng, color=0.3, size=0.4)
    return _caption("single_object", (clause,), noun_phrase(clause, rng), rng)


def _colors(rng: random.Random) -> Caption:
    clause = _clause(rng, color=1.0)
    return _caption("colors", (clause,), noun_phrase(clause, rng), rng)


def _pair(rng: random.Random, color: float) -> tuple[Clause, Clause]:
    first, second = rng.sample(SHAPES, 2)
    return _clause(rng, color, cls=first), _clause(rng, color, cls=second)


def _two(rng: random.Random) -> Caption:
    a, b = _pair(rng, 0.15)
    return _caption("two_object", (a, b), f"{noun_phrase(a, rng)} and {noun_phrase(b, rng)}", rng)


def _color_attr(rng: random.Random) -> Caption:
    a, b = _pair(rng, 1.0)
    return _caption("color_attr", (a, b), f"{noun_phrase(a, rng)} and {noun_phrase(b, rng)}", rng)


def _counting(rng: random.Random) -> Caption:
    count = rng.choices(tuple(COUNT_ODDS), tuple(COUNT_ODDS.values()))[0]
    color = rng.choice(tuple(COLORS)) if rng.random() < 0.5 else None
    size = rng.choice(("small", "large")) if rng.random() < 0.1 else None
    clause = Clause(rng.choice(SHAPES), count, color, size)
    wrong = rng.random() < WRONG_COUNT
    said = rng.choice([n for n in (count - 1, count + 1) if n in COUNT_ODDS]) if wrong else count
    return _caption(
        "counting", (clause,), noun_phrase(replace(clause, count=said), rng), rng, clean=not wrong
    )


def _position(rng: random.Random) -> Caption:
    a, b = _pair(rng, 0.3)
    true = rng.choice(RELATIONS)
    wrong = rng.random() < WRONG_RELATION
    said = rng.choice(RELATION_WORDS[OPPOSITE[true] if wrong else true])
    first, second = noun_phrase(a, rng), noun_phrase(b, rng)
    body = f"{first} {said} {second}" if rng.random() < 0.8 else f"{first} that is {said} {second}"
    return _caption("position", (a, replace(b, position=(OPPOSITE[true], 0))), body, rng, clean=not wrong)


def _dense(rng: random.Random) -> Caption:
    shapes = rng.sample(SHAPES, rng.randint(3, 6))
    clauses: list[Clause] = []
    parts: list[str] = []
    for i, cls in enumerate(shapes):
        clause = _clause(rng, color=0.8, size=0.4, cls=cls)
        if i and rng.random() < 0.4:
            relation = rng.choice(RELATIONS)
            said = rng.choice(RELATION_WORDS[relation])
            clause = Clause(cls, 1, clause.color, clause.size, (relation, i - 1))
            parts.append(f"{noun_phrase(clause, rng)} {said} the {shapes[i - 1]}")
        else:
            parts.append(noun_phrase(clause, rng))
        clauses.append(clause)
    try:
        return _caption("dense", tuple(clauses), f"{', '.join(parts[:-1])} and {parts[-1]}", rng)
    except ValueError:  # relations that no layout found here satisfies: draw another
        return _dense(rng)


def _zipf(facts: tuple, rng: random.Random) -> tuple:
    return rng.choices(facts, [1 / (i + 1) for i in range(len(facts))])[0]


def _knowledge(rng: random.Random) -> Caption:
    shape = rng.choice(SHAPES)
    count, number_fact = _zipf(NUMBER_FACTS, rng)
    color, color_fact = _zipf(COLOR_FACTS, rng)
    form = rng.randrange(3)
    if form == 0:
        clause = Clause(shape, 1, color)
        body = f"a {shape} in the colour of {color_fact}"
    elif form == 1:
        clause = Clause(shape, count)
        body = f"as many {PLURALS[shape]} as {number_fact}"
    else:
        clause = Clause(shape, count, color)
        body = f"as many {PLURALS[shape]} as {number_fact}, in the colour of {color_fact}"
    return _caption("knowledge", (clause,), body, rng)


def _text(rng: random.Random) -> Caption:
    any_letters = rng.random() < 0.5  # so that spelling is not learnt by heart
    word = "".join(rng.choices(ALPHABET, k=rng.randint(2, LONGEST))) if any_letters else rng.choice(WORDS)
    color = rng.choice(tuple(COLORS)) if rng.random() < 0.5 else None
    body = f'the word "{word}"' if rng.random() < 0.7 else f'a sign that says "{word}"'
    body += f" in {color}" if color else ""
    clean = rng.random() < CLEAN_TEXT
    drawn = "".join(x if clean or rng.random() >= WRONG_LETTER else rng.choice(ALPHABET) for x in word)
    placed = [Placed("text", color or rng.choice(tuple(COLORS)), rng.randrange(3), word=drawn)]
    return Caption("text", decorate(body, rng), format_layout(placed), placed, clean)


def _caption(
    kind: str, clauses: tuple[Clause, ...], body: str, rng: random.Random, clean: bool = True
) -> Caption:
    placed = layout_for(Target(kind, clauses), rng)
    if kind == "counting" or kind == "knowledge":
        placed.sort(key=lambda p: p.cell)
    return Caption(kind, decorate(body, rng), format_layout(placed), placed, clean)


KINDS: dict[str, tuple[float, Callable[[random.Random], Caption]]] = {
    "single_object": (0.08, _single),
    "two_object": (0.14, _two),
    "counting": (0.20, _counting),
    "colors": (0.08, _colors),
    "position": (0.18, _position),
    "color_attr": (0.12, _color_attr),
    "dense": (0.08, _dense),
    "knowledge": (0.06, _knowledge),
    "text": (0.20, _text),
}


def sample_caption(rng: random.Random, kind: str | None = None) -> Caption:
    """One pretraining example; ``kind`` forces a skill."""
    if kind is None:
        kind = rng.choices(tuple(KINDS), [odds for odds, _ in KINDS.values()])[0]
    return KINDS[kind][1](rng)
