"""Strings to be drawn, of a set number of words: signs people would put up, composed from short lists.

Composed, so that thousands differ and none is a benchmark's; sense makes them typical of lettering.
Left out: languages other than English, whose judges differ.
"""

import random

NOUNS = """
    Bread Coffee Honey Garden River Harbor Market Lantern Cinema Museum Bicycle Rocket Orchard Piano Velvet
    Pepper Ocean Thunder Maple Winter Summer Castle Island Ginger Copper Silver Valley Bakery Library Theater
    Puzzle Comet Falcon Tiger Lemon Cherry Pocket Window Mirror Candle Anchor Compass Meadow Canyon Bridge
    Station Kitchen Gallery Studio Tailor Barber Florist Printer Sailor Dancer Pilot Doctor Farmer Painter
""".split()  # noqa: SIM905  # as words, not one line each
ADJECTIVES = """
    Fresh Golden Quiet Brave Hidden Little Royal Wild Happy Lucky Modern Ancient Gentle Clever Silent Bright
    Crispy Frozen Hungry Jolly Mighty Noble Proud Simple Tender Urban Vivid Warm Young Zesty
""".split()  # noqa: SIM905
VERBS = "Visit Taste Find Love Build Share Save Follow Read Paint Plant Watch".split()  # noqa: SIM905
TIMES = "Monday Tuesday Friday Sunday Today Tonight Tomorrow Forever Daily Weekly".split()  # noqa: SIM905
PLACES = "London Paris Cairo Lima Oslo Kyoto Denver Nairobi Lisbon Sydney Prague Austin".split()  # noqa: SIM905

# By number of words: patterns of the lists' initials (N, A, V, T, P); lower-case words stand for themselves.
PATTERNS: dict[int, tuple[str, ...]] = {
    1: ("N", "A", "P", "T"),
    2: ("A N", "V N", "N T", "P N"),
    3: ("V A N", "A N T", "N and N", "N of P"),
    4: ("V the A N", "A N in P", "N and N T", "the A N shop"),
    5: ("V the N of P", "A N and A N", "no N before the N"),
    6: ("V our A N in P", "the N that the N forgot", "A N for every A N"),
    7: ("V the A N and the N", "A N is open in P T", "one N per day keeps P A"),
    8: ("V the A N and the A N", "never V one N without one A N", "the A N of P opens again T"),
    10: ("V the A N and then V one A N", "please V every A N you see in P T"),
    12: ("the A N and the A N open together in P T", "V one A N and you will V one A N T", "when the A N sleeps we all V the N of P"),
}  # fmt: skip
_LISTS = {"N": NOUNS, "A": ADJECTIVES, "V": VERBS, "T": TIMES, "P": PLACES}


def compose(rng: random.Random, words: int, letters: int | None) -> str:
    """A string of ``words`` words; ``letters`` bounds a single word's length.

    Raises ``LookupError`` listing the lengths there are.
    """
    if letters is not None:
        fits = [w for some in _LISTS.values() for w in some if len(w) == letters] if words == 1 else []
        if not fits:
            raise LookupError("vocabulary 'coco' bounds letters for one word of 4 to 8 letters")
        return _styled(rng.choice(fits), rng)
    if words not in PATTERNS:
        raise LookupError(
            f"vocabulary 'coco' composes strings of {', '.join(map(str, PATTERNS))} words, not {words}"
        )
    parts = [rng.choice(_LISTS[p]) if p in _LISTS else p for p in rng.choice(PATTERNS[words]).split()]
    text = " ".join(parts)
    return _styled(text[0].upper() + text[1:], rng)


def _styled(text: str, rng: random.Random) -> str:
    return text.upper() if rng.random() < 0.35 else text
