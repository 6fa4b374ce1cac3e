"""Accounts of parts of a dataset: as plain values, and added up.

What is added to what is told by its type, so that a count which ``account`` begins to keep is added too.
Sums are taken part after part: the same parts give the same digits, whoever counted them.
"""

from collections import Counter
from dataclasses import fields
from typing import Any

from datagen.account import Account, Line

COUNTED = ("sources", "models", "llms", "unscored")


def account_row(account: Account) -> dict[str, Any]:
    """What ``account`` counted, as JSON can hold it."""
    lines = {
        name: {f.name: _plain(getattr(line, f.name)) for f in fields(Line)}
        for name, line in account.lines.items()
    }
    return {"lines": lines} | {name: _plain(getattr(account, name)) for name in COUNTED}


def add_row(account: Account, row: dict[str, Any]) -> None:
    """Count what another account did, of other prompts."""
    for name, counts in row["lines"].items():
        line = account.lines.setdefault(name, Line())
        for f in fields(Line):
            setattr(line, f.name, _sum(getattr(line, f.name), counts[f.name]))
    for name in COUNTED:
        setattr(account, name, _sum(getattr(account, name), row[name]))


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return list(value.items())
    return sorted(value) if isinstance(value, set) else value


def _sum(mine: Any, more: Any) -> Any:
    match mine:
        case Counter():
            mine.update(dict(more))
            return mine
        case set():
            return mine | set(more)
        case tuple():
            return tuple(a + b for a, b in zip(mine, more, strict=True))
        case str():
            return mine or more
    return mine + more
