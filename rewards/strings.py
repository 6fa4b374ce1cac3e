"""How near a read text is to the wanted one: edit distance, completion, word accuracy, order. Pure.

The three figures are OneIG-Bench's (ED, CR, WAC); ``similarity`` is the usual 1 - ED / length.
Comparing ignores case, punctuation and spacing that lettering cannot show, never letters or digits.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MAX_LENGTH = 400  # characters of wanted or read text: the distance takes their product
MAX_LINES = 40  # read lines that are matched; a sign or a poster has fewer
IN_ROWS = 6  # lines that one span may be broken into
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|「([^」]+)」|(?<!\w)'([^']+)'(?!\w)|‘([^’]+)’")


def quoted(prompt: str) -> tuple[str, ...]:
    """All quoted spans of a prompt, in order; an apostrophe inside a word quotes nothing."""
    return tuple(next(g for g in m.groups() if g) for m in _QUOTED.finditer(prompt[: 10 * MAX_LENGTH]))


def plain(text: str) -> str:
    """Lower case, compatibility forms folded, words of letters and digits joined by one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", re.sub(r"[\u2018\u2019'’]", "", folded)))


def edit_distance(a: str, b: str) -> int:
    """Levenshtein: insertions, deletions, substitutions."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def similarity(wanted: str, read: str) -> float:
    """1 - distance / longer length, of ``plain`` texts; 1.0 only for equal ones."""
    one, other = (plain(t[:MAX_LENGTH]).replace(" ", "") for t in (wanted, read))
    longest = max(len(one), len(other))
    return 1 - edit_distance(one, other) / longest if longest else 1.0


def word_accuracy(wanted: str, read: str) -> float:
    """Share of wanted words, with repeats, that are among the read ones."""
    left = plain(read).split()
    words = plain(wanted).split()
    hits = 0
    for word in words:
        if word in left:
            left.remove(word)
            hits += 1
    return hits / len(words) if words else 1.0


@dataclass(frozen=True)
class Match:
    """One wanted span: what was read for it, where (first and last line + 1), how near it is."""

    wanted: str
    read: str
    similarity: float
    words: float
    place: tuple[int, int]

    @property
    def complete(self) -> bool:
        return self.similarity == 1.0


def match(wanted: Sequence[str], lines: Sequence[str]) -> list[Match]:
    """The best run of consecutive read lines for each wanted span; no line serves two spans.

    Greedy, most similar span first. A span may stand in several lines (a sign in two rows); lines that
    no span claims are extra text, which ``extra`` measures.
    """
    runs = [
        (i, j, " ".join(lines[i:j]))
        for i in range(min(len(lines), MAX_LINES))
        for j in range(i + 1, min(i + IN_ROWS, len(lines), MAX_LINES) + 1)
    ]
    options = sorted(
        (
            (similarity(w, text), n, i, j, text)
            for n, w in enumerate(wanted)
            for i, j, text in runs
            if 0.3 * len(w) <= len(text) <= 3 * len(w) + 3  # others share too little to be told from chance
        ),
        key=lambda o: (-o[0], o[3] - o[2], o[1], o[2]),
    )
    used: set[int] = set()
    found: dict[int, Match] = {}
    for value, n, i, j, text in options:
        if n not in found and not used & set(range(i, j)) and value > 0:
            used |= set(range(i, j))
            found[n] = Match(wanted[n], text, value, word_accuracy(wanted[n], text), (i, j))
    return [found.get(n, Match(w, "", 0.0, 0.0, (-1, -1))) for n, w in enumerate(wanted)]


def extra(matches: Sequence[Match], lines: Sequence[str]) -> float:
    """Share of the read characters that no wanted span claims."""
    claimed = {k for m in matches for k in range(*m.place)} if matches else set()
    sizes = [len(plain(line)) for line in lines]
    total = sum(sizes)
    return sum(s for k, s in enumerate(sizes) if k not in claimed) / total if total else 0.0


def in_order(matches: Sequence[Match]) -> bool:
    """Whether the spans that were found stand in the order in which they were asked for."""
    starts = [m.place[0] for m in matches if m.place[0] >= 0]
    return starts == sorted(starts)
