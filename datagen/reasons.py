"""A judge's reason to a sentence and to a way of failing: ``too few``, ``wrong color``, ``missing``...

Reads the sentences that GenEval's evaluator prints (and ours, which prints the same). Any other
reason is kept as it is and has no way of failing: nothing is guessed.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_COUNT = re.compile(r"^expected (?P<what>.+)(?P<sign>>=|<)(?P<n>\d+), found (?P<k>\d+)$")
_COLOR = re.compile(
    r"^expected (?P<what>.+)>=(?P<n>\d+), found (?P<k>\d+) (?P<color>[\w-]+); and (?P<others>.*)$"
)
_RELATION = re.compile(
    r"^expected (?P<what>.+) (?P<relation>left of|right of|above|below) target, found (?P<found>.*?) ?target$"
)
_NOTHING = re.compile(r"^no target for (?P<what>.+) to be (?P<relation>.+)$")


class Reason(NamedTuple):
    way: str  # empty where the sentence is not one that is known
    words: str


@lru_cache(maxsize=16_384)
def explain(reason: str) -> Reason:
    """The first line that says something of its own, in words, and its way of failing."""
    lines = [line for line in reason.splitlines() if line.strip()]
    for line in lines:
        if not _NOTHING.match(line):
            return _line(line.strip())
    return _line(lines[0].strip()) if lines else Reason("", "failed")


def _line(line: str) -> Reason:
    if match := _COLOR.match(line):
        others = [o for o in match["others"].split(", ") if o and not o.endswith(f" {match['color']}")]
        seen = " and ".join(o.split(" ", 1)[-1] for o in others) or "no color of it"
        return Reason("wrong color", f"expected {match['what']}, found {seen}")
    if match := _COUNT.match(line):
        what, n, k = match["what"], int(match["n"]), int(match["k"])
        if match["sign"] == "<":
            return Reason("too many", f"expected at most {n - 1} {what}, found {k}")
        if k == 0:
            return Reason("missing", f"expected {what}, found none")
        return Reason("too few", f"expected {n} {what}, found {k}")
    if match := _RELATION.match(line):
        wanted = f"expected {match['what']} {match['relation']} the other object"
        if not match["found"]:
            return Reason("no clear relation", f"{wanted}, found no clear relation")
        return Reason("wrong relation", f"{wanted}, found it {match['found']}")
    if match := _NOTHING.match(line):
        return Reason(
            "missing", f"expected {match['what']} {match['relation']} the other object, which is missing"
        )
    return Reason("", line)
