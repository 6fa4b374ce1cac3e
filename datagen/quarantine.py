"""Work under a journal: the prompt that kills its workers is found, and left out.

A shard that killed its worker is searched prompt by prompt, and the prompt that killed three in all is
quarantined. What is left is then made whole, so that the shard's bytes do not depend on which worker
died when: a batch of another size would round differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from datagen.cluster import node_id, node_is_alive, worker_id
from datagen.errors import ModelError
from datagen.journal import Journal

DEATHS = 3  # of workers, until a prompt is at fault
LOADING = 4 * 3600.0  # seconds until a worker that loads is taken for hung: a first start downloads
WAITS = ".rendered"  # a shard that was rendered and not yet scored


@dataclass(frozen=True)
class Quarantined:
    """A prompt that is left out because workers died on it."""

    group_id: str
    prompt: str
    stage: str
    reason: str


class Part(Protocol):
    """What ``Guarded`` can take apart: prompts of one recipe, or their candidates."""

    @property
    def name(self) -> str: ...
    @property
    def recipe(self) -> str: ...
    @property
    def groups(self) -> dict[str, str]: ...
    @property
    def quarantined(self) -> tuple[Quarantined, ...]: ...
    def only(self, groups: Sequence[str]) -> Self: ...


class Work(Protocol):
    """A stage's work: ``load`` what an item needs, once; call, which leaves no trace; ``finish``."""

    def load(self, item: Any, /) -> None: ...
    def __call__(self, item: Any, /) -> Any: ...
    def finish(self, item: Any, result: Any, /) -> Any: ...


class Guarded:
    """``make()``'s work under a journal: what kills workers is found, and left out.

    ``seconds`` a prompt, until a worker that has not done with it is taken for hung, and ``loading`` for all
    that a recipe needs; ``hands_on`` where another stage goes on with the result, for the progress.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Work],
        journals: Path,
        seconds: float,
        hands_on: bool = False,
        loading: float = LOADING,
    ) -> None:
        self.name, self.journals, self.hands_on = name, journals, hands_on
        self.seconds, self.loading = seconds, loading
        self.work = make()
        self.loaded: set[str] = set()

    def __call__(self, item: Any) -> Any:
        self._load(item)
        journal = self._journal(f"{item.name}.{self.name}")
        whole = journal.deaths[item.name]
        groups = item.groups
        if whole:
            for group in groups:
                if group not in journal.passed and journal.deaths[group] < DEATHS - 1:
                    with journal.attempt(group, self.seconds):
                        self.work(item.only([group]))
        if whole >= DEATHS:  # each of its prompts passes alone
            bad = {
                g: f"together with the others of {item.name}: {journal.reasons[item.name]}" for g in groups
            }
        else:
            bad = {g: journal.reasons[g] for g in groups if journal.deaths[g] >= DEATHS - 1}
        out = tuple(Quarantined(g, groups[g], self.name, reason) for g, reason in bad.items())
        left = replace(item.only([g for g in groups if g not in bad]), quarantined=item.quarantined + out)
        with journal.attempt(item.name, self.seconds * max(1, len(left.groups))):
            done = self.work.finish(left, self.work(left))
        journal.close()
        waits = self.journals / f"{item.name}{WAITS}"
        if self.hands_on:
            waits.touch()
        else:
            waits.unlink(missing_ok=True)
        return done

    def _load(self, item: Any) -> None:
        """On a clock of its own. Three deaths here are no prompt's fault."""
        recipe = item.recipe
        if recipe in self.loaded:
            return
        journal = self._journal(f"loading.{worker_id()}.{self.name}")
        if journal.deaths[recipe] >= DEATHS:
            raise ModelError(
                f"{DEATHS} workers died while they loaded what recipe {recipe!r} needs to {self.name}: "
                f"{journal.reasons[recipe]}"
            )
        with journal.attempt(recipe, self.loading):
            self.work.load(item)
        journal.close()
        self.loaded.add(recipe)

    def _journal(self, name: str) -> Journal:
        return Journal(self.journals / name, node_id(), node_is_alive)
