"""Every error that datagen raises on purpose.

    DatagenError                 anything a user can act on; the CLI prints it as one line
    ├── InputError               the call or a file it named is wrong (exit 2)
    │   ├── UnknownName          a name that is in no table; lists the valid ones
    │   ├── RecipeError          a recipe that does not fit its schema
    │   └── ResultsError         a results file that no reader, or more than one, can take
    └── WorkError                the work itself failed (exit 1)
        ├── ModelError           a model could not be loaded, or answered nonsense
        ├── RewardError          a reward returned a value that is not finite
        ├── ShardError           a shard or manifest is torn, changed or missing
        └── TrainingError        training cannot start or go on

Anything else that escapes is a bug, and shows its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class DatagenError(Exception):
    """Base of all errors that are meant for the user; ``str()`` is one line."""


class InputError(DatagenError):
    """The call, or a file it named, is wrong."""


class UnknownName(InputError):
    """A name that is in no table. The message lists the valid ones and the nearest."""

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        self.kind, self.name, self.valid = kind, name, sorted(valid)
        near = get_close_matches(name, self.valid, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(f"unknown {kind} {name!r}{hint}; valid: {', '.join(self.valid)}")


class RecipeError(InputError):
    """A recipe that does not fit its schema: names the file, the field and the choices."""


class ResultsError(InputError):
    """A results file that cannot be read: names the file and the line."""


class WorkError(DatagenError):
    """The work itself failed."""


class ModelError(WorkError):
    """A model could not be loaded, or answered nonsense."""


class RewardError(WorkError):
    """A reward returned a value that is not finite."""


class ShardError(WorkError):
    """A shard or manifest is torn, changed or missing."""


class TrainingError(WorkError):
    """Training cannot start or cannot go on."""
