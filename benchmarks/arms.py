"""What the study compares: its sizes, and the arms of its axes, each one way to make data, weigh, train and sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

PARTS = {"compose": "scenes", "dense": "dense", "knowledge": "knowledge", "text": "text"}
ALIGNED = ("benchmark_aligned", "dense", "world_knowledge", "text_rendering")  # a recipe a part, equal shares


@dataclass(frozen=True)
class Setting:
    """``prompts`` are of one build; ``compose`` and ``other`` prompts a category are evaluated on."""

    prompts: int
    k: int
    compose: int
    other: int
    images: int
    epochs: float
    axes: tuple[str, ...] = ()  # empty: all


SETTINGS = {
    "small": Setting(40, 4, 3, 10, 1, 1.0, ("strategy", "modality")),
    "full": Setting(160, 8, 20, 40, 2, 3.0),
}


@dataclass(frozen=True)
class Data:
    """How candidates are made; arms with equal data share one build."""

    strategy: str = "targeted"
    trace: str = "self"
    cfg: float | None = 1.0
    k: int = 0  # 0: the setting's; others keep the number of candidates
    scale: float = 1.0  # times the setting's prompts
    round: int = 1
    moved: bool = False  # this round's budget follows what the one before moved, else shortfall alone

    @property
    def name(self) -> str:
        how = "-moved" if self.moved else ""
        return (
            f"{self.strategy}-{self.trace}-cfg{self.cfg:g}-k{self.k}-x{self.scale:g}-round{self.round}{how}"
        )

    @property
    def earlier(self) -> "Data":
        """The round before."""
        return replace(self, round=self.round - 1, moved=self.moved and self.round > 2)

    @property
    def llm(self) -> str:
        """Who writes the prompts, and the traces that an LLM writes."""
        return "smollm2" if self.trace == "llm" else "template"


@dataclass(frozen=True)
class Arm:
    axis: str
    name: str
    data: Data = Data()
    weights: dict[str, float] = field(default_factory=dict)  # of the recipes, instead of theirs
    credit: str = "specific"  # "shared": the picture's reward weighs the trace too
    normalise: str = "group"
    modalities: tuple[str, ...] = ("text", "image")
    train: dict[str, float] = field(default_factory=dict)
    cfg: float | None = None  # of the evaluation
    trace: bool = True  # evaluated with one
    refined: bool = False  # evaluated on pictures that see the trace and not the prompt
    keep: bool = False  # a later round trains on the candidates of the one before it, too

    @property
    def file(self) -> str:
        return f"{self.axis}-{self.name}".replace(" ", "_")


BOTH = Arm("strategy", "targeted")  # the arm that every axis shares
NO_CAP = 1e6
REFINED = "benchmarks.two_stages:refined?model="
GOAL = 0.9  # the score that a targeted build is for, of every category
PILOT = 0.25  # of a piloted build's prompts, spent first on learning what a prompt of each recipe moves
WEAK = 5  # of the nine categories, those that a targeted build is for
AXES: dict[str, tuple[Arm, ...]] = {
    "strategy": (BOTH, *(Arm("strategy", s, Data(s)) for s in ("aligned", "broad", "piloted"))),
    "modality": (
        Arm("modality", "SFT", modalities=()),
        Arm("modality", "text only", modalities=("text",)),
        Arm("modality", "image only", modalities=("image",)),
        Arm("modality", "both, one reward", credit="shared"),
    ),
    "trace": (
        Arm("trace", "template", Data(trace="template")),
        Arm("trace", "LLM", Data(trace="llm")),
        Arm("trace", "none", Data(trace="none"), trace=False),
        Arm("trace", "self, sampled without", trace=False),
        Arm("trace", "self, refined prompt only", refined=True),
    ),
    "guidance": (
        Arm("guidance", "drawn at 2.5", Data(cfg=2.5)),
        Arm("guidance", "tested at 1", cfg=1.0),
        Arm("guidance", "tested at 1.5", cfg=1.5),
        Arm("guidance", "drawn at 2.5, tested at 1", Data(cfg=2.5), cfg=1.0),
        Arm("guidance", "velocity penalty 0.1", train={"reference_penalty": 0.1}),
    ),
    "weights": (
        Arm("weights", "temperature 0.05", weights={"temperature": 0.05}),
        Arm("weights", "temperature 1", weights={"temperature": 1.0}),
        Arm("weights", "no floor", weights={"floor": 0.0}),
        Arm("weights", "no clipping", weights={"max": NO_CAP}),
        Arm("weights", "best of 8", weights={"temperature": 0.01, "max": NO_CAP}),
        Arm("weights", "global", normalise="global"),
    ),
    "candidates": tuple(Arm("candidates", f"{k} a prompt", Data(k=k)) for k in (2, 4, 16, 32)),
    "rounds": (
        *(Arm("rounds", f"{n} rounds", Data(round=n)) for n in (2, 3)),
        Arm("rounds", "2 rounds, data kept", Data(round=2), keep=True),
        Arm("rounds", "2 rounds by what moved, data kept", Data(round=2, moved=True), keep=True),
    ),
    "scaling": tuple(Arm("scaling", f"x {s:g}", Data(scale=s)) for s in (0.08, 0.25, 4, 16)),
}  # fmt: skip


def all_arms(axes: Sequence[str]) -> list[Arm]:
    return [arm for name, arms in AXES.items() if not axes or name in axes for arm in arms]
