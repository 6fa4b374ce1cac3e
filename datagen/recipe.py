"""A recipe: what to build for one weakness, as data. ``recipes/*.yaml`` or any path.

The schema is strict: a typo is an error that names the file, the field and the valid ones. One recipe
serves every vocabulary it lists under ``vocabularies``, and says there what differs; the model that is
built for decides which it is.
"""

import random
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from datagen.errors import InputError, RecipeError, UnknownName

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Targets(_Strict):
    """Which sampler draws what must be true of the image, and its parameters."""

    sampler: str
    params: dict[str, Any] = {}


class Prompts(_Strict):
    """How many prompts, how the LLM is asked for them, and how what it writes is checked.

    ``check``: ``parse`` reads every prompt back; ``ask`` lets the LLM resolve a riddle that is not worded
    as it was given.
    """

    count: int = Field(120, ge=1)
    guidance: str = ""
    examples: tuple[str, ...] = ()
    attempts: int = Field(4, ge=1, le=100)
    check: Literal["parse", "ask"] = "parse"


class Candidates(_Strict):
    """How many candidates a prompt gets and how they are drawn; ``null`` is the model's default."""

    k: int = Field(8, ge=1, le=1024)
    cfg: float | None = Field(1.0, ge=0)
    steps: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)


Modality = Literal["image", "text"]


class Rewards(_Strict):
    """Reward name to weight, combined into one reward for each modality; see ``datagen.combine``.

    ``gates``: name to the least score that passes; what fails has reward 0. ``floors``: name to the
    least score worth imitating; what is under it keeps its reward and weighs nothing. ``scale``: how
    scores are made comparable before they are averaged. ``options``: what a reward is built with.
    """

    image: dict[str, float] = {"scenes": 1.0}
    text: dict[str, float] = {"trace": 1.0}
    gates: dict[Modality, dict[str, float]] = {}
    floors: dict[Modality, dict[str, float]] = {}
    scale: dict[Modality, Literal["raw", "zscore", "rank"]] = {}
    options: dict[str, dict[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """Every reward that is read, sorted."""
        limits = (*self.gates.values(), *self.floors.values())
        return sorted({*self.image, *self.text, *(name for some in limits for name in some)})

    @model_validator(mode="after")
    def _options_are_used(self) -> "Rewards":
        if unused := sorted(set(self.options) - set(self.names)):
            raise ValueError(f"options for {unused[0]!r}, which is not among {', '.join(self.names)}")
        return self

    @model_validator(mode="after")
    def _something_counts(self) -> "Rewards":
        for modality in ("image", "text"):
            weights = getattr(self, modality)
            if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"{modality} needs at least one reward with a positive weight")
        return self


class Dedupe(_Strict):
    """Cosine similarity from which two prompts, or two images, of one target are near-duplicates.

    ``region`` is the similarity of what is asked (the target's words) within which targets are
    neighbours; it is full at ``crowd`` of the recipe's prompts (a share, but at least four prompts), and
    targets that fall in it are not asked for any more (null: no limit).
    ``evaluation`` is the similarity from which a prompt overlaps an evaluation prompt: prompts of other
    targets stay below 0.75, an evaluation prompt without its opening lies at 0.95 (benchmarks.prompts).
    """

    prompts: Fraction = 0.97
    images: Fraction = 0.995
    region: Fraction = 0.9
    crowd: float | None = Field(None, gt=0, le=1)
    evaluation: Fraction = 0.85


class Weights(_Strict):
    """RWR: ``exp(advantage / temperature)`` up to ``max``, nothing under the reward ``floor``."""

    temperature: float = Field(0.2, gt=0)
    floor: Fraction = 0.5
    max: float = Field(4.0, gt=0)


class Sampling(_Strict):
    """What of ``candidates`` may differ by vocabulary: how they are drawn, not how many."""

    cfg: float | None = Field(1.0, ge=0)
    steps: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)


class Variant(_Strict):
    """What a recipe says differently for one vocabulary; what is left out is the recipe's own.

    ``params`` are added to ``targets.params``; ``rewards`` are replaced as a whole.
    """

    params: dict[str, Any] = {}
    guidance: str | None = None
    examples: tuple[str, ...] | None = None
    candidates: Sampling | None = None
    rewards: Rewards | None = None
    dedupe: Dedupe | None = None
    weights: Weights | None = None


class Recipe(_Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    weakness: str
    targets: Targets
    prompts: Prompts = Prompts()
    trace: Literal["self", "llm", "template", "none"] = "self"
    candidates: Candidates = Candidates()
    rewards: Rewards = Rewards()
    dedupe: Dedupe = Dedupe()
    weights: Weights = Weights()
    vocabularies: dict[str, Variant] = {}  # empty: any vocabulary, as it stands

    @property
    def reward_names(self) -> list[str]:
        return self.rewards.names

    def serves(self, vocabulary: str) -> bool:
        return not self.vocabularies or vocabulary in self.vocabularies

    def for_vocabulary(self, vocabulary: str) -> "Recipe":
        """The recipe as it is for ``vocabulary``; ``vocabularies`` then holds that name alone.

        Raises ``RecipeError`` for one it does not serve.
        """
        if not self.serves(vocabulary):
            served = ", ".join(self.vocabularies)
            raise RecipeError(f"recipe {self.name!r} serves the vocabulary {served}, not {vocabulary!r}")
        row = self.model_dump(exclude={"vocabularies"})
        variant = self.vocabularies.get(vocabulary, Variant())
        said = variant.model_dump(exclude_unset=True)
        row["targets"]["params"] |= said.pop("params", {})
        for name in ("guidance", "examples"):
            if said.get(name) is not None:
                row["prompts"][name] = said[name]
            said.pop(name, None)
        if said.get("rewards") is not None:
            row["rewards"] = said.pop("rewards")
        for section, fields in said.items():
            row[section] |= fields or {}
        return Recipe.model_validate({**row, "vocabularies": {vocabulary: {}}})

    def to_yaml(self) -> str:
        row = self.model_dump(mode="json", exclude={"vocabularies"})
        variants = {n: v.model_dump(mode="json", exclude_unset=True) for n, v in self.vocabularies.items()}
        if variants and all("rewards" in v for v in variants.values()):
            row.pop("rewards")  # nobody's
        return yaml.safe_dump({**row, "vocabularies": variants}, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a field given twice; YAML itself would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"field {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def list_recipes() -> dict[str, Path]:
    """The recipes that ship, by name."""
    folder = Path(str(files("recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipes_by_weakness() -> dict[str, str]:
    """Category -> the shipped recipe that targets it."""
    found: dict[str, str] = {}
    for name in list_recipes():
        found.setdefault(load_recipe(name).weakness, name)
    return found


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe's name, or a path to a YAML file.

    Raises ``UnknownName`` for a name that is neither, ``RecipeError`` naming file, field and choices.
    """
    known = list_recipes()
    text = str(name_or_path)
    path = known.get(text, Path(text))
    if text not in known and path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise UnknownName("recipe", text, known)
    try:
        row = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not a text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise RecipeError(f"{path}{where}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: not valid YAML: nested too deeply") from error
    if not isinstance(row, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with the fields {_fields(Recipe)}")
    return parse_recipe(row, str(path))


def parse_recipe(row: dict[str, Any], source: str) -> Recipe:
    """Validate a mapping, and that its sampler takes its parameters; ``source`` is named in the error."""
    from datagen.targets import SAMPLERS, VOCABULARIES, sampler

    try:
        recipe = Recipe.model_validate(row)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error)}") from error
    targets = recipe.targets
    if targets.sampler not in SAMPLERS and ":" not in targets.sampler:
        valid = ", ".join(sorted(SAMPLERS))
        raise RecipeError(f"{source}: targets.sampler: unknown {targets.sampler!r}; valid: {valid}")
    if unknown := [name for name in recipe.vocabularies if name not in VOCABULARIES]:
        valid = ", ".join(VOCABULARIES)
        raise RecipeError(f"{source}: vocabularies: unknown {unknown[0]!r}; valid: {valid}")
    try:
        sampler(targets.sampler, targets.params)
    except InputError as error:
        raise RecipeError(f"{source}: {error}") from error
    for name, variant in recipe.vocabularies.items():
        try:  # one draw: what only the sampler can tell, as a count that the vocabulary has not
            sampler(targets.sampler, targets.params | variant.params)(VOCABULARIES[name], random.Random(0))
        except InputError as error:
            where = f"vocabularies.{name}.params: " if variant.params else ""
            raise RecipeError(f"{source}: {where}{error}") from error
    return recipe


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _explain(error: ValidationError) -> str:
    """The first problem, in one line, with the valid fields where the field is unknown."""
    first = error.errors()[0]
    where = [str(x) for x in first["loc"]]
    if first["type"] != "extra_forbidden":
        return f"{'.'.join(where) or 'recipe'}: {first['msg']}"
    model: type[BaseModel] = Recipe
    for step in where[:-1]:
        if step not in model.model_fields:  # the key of a mapping, as a vocabulary's name
            continue
        annotation: Any = model.model_fields[step].annotation
        for one in (annotation, *get_args(annotation)):
            if isinstance(one, type) and issubclass(one, BaseModel):
                model = one
    return f"unknown field {'.'.join(where)!r}; valid: {_fields(model)}"
