"""The layers of the house, read from the source: imports go down, and each dependency has one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for d in ("datagen", "rewards", "trainer", "recipes") for p in (ROOT / d).rglob("*.py"))
DOORS = {
    "ray": ("datagen/cluster.py", "datagen/workers.py", "datagen/pool.py"),
    "vllm": ("datagen/llm/engine.py", "rewards/vlm_engine.py"),
    "faiss": ("datagen/neighbours.py", "datagen/regions.py"),
    "typer": ("datagen/cli.py", "datagen/commands/"),
    "openai": ("datagen/llm/server.py", "rewards/vlm_server.py"),
    "torch": (
        "datagen/models/",
        "datagen/llm/",
        "datagen/doctor.py",
        "datagen/workers.py",
        "datagen/pool.py",
        "rewards/",
        "trainer/",
    ),
    "transformers": ("datagen/models/", "datagen/llm/", "rewards/", "trainer/"),
}
LAYERS = (
    {"sample", "errors", "registry"},
    {"scenes", "evals", "statistics", "weakness", "weaknesses", "tally", "reasons", "splits", "shrinkage", "subskills", "budget",
     "remedies", "completeness", "weakness_table", "second_judge", "new_recipe", "targets", "llm.base", "prompts", "suites", "recipe", "console",
     "decontaminate", "spill", "embedding", "thumbnails", "compare", "models.base"},
    {"traces", "account", "candidates", "combine", "scores", "calibrate", "alarms", "weights", "llm", "models", "neighbours", "dedupe", "pieces", "portions", "parts", "regions", "guard", "shards", "dataset", "checksums", "croissant", "provenance", "card", "merge",
     "manifest", "journal", "checks", "prompting", "prompt_file"},
    {"cluster", "workers", "pool", "writers", "quarantine", "stages", "making", "finish", "pipeline", "evaluate", "hub", "report", "monitor", "doctor", "turns", "loop"},
    {"commands"},
    {"cli"},
    {"__main__"},
)  # fmt: skip


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def layer(module: str) -> int | None:
    inner = module.removeprefix("datagen.")
    for depth in (2, 1):
        name = ".".join(inner.split(".")[:depth])
        for level, names in enumerate(LAYERS):
            if name in names:
                return level
    return None


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("door", DOORS)
def test_a_dependency_is_imported_behind_its_door_only(door):
    for path in FILES:
        if any(i.split(".")[0] == door for i in imports(path)):
            where = str(path.relative_to(ROOT))
            assert where.startswith(DOORS[door]), f"{where} imports {door}"


def test_every_module_of_datagen_has_a_layer():
    for path in FILES:
        name = name_of(path)
        if name.startswith("datagen.") and name != "datagen.__init__":
            assert layer(name) is not None, name


def test_imports_go_down_only():
    for path in FILES:
        name = name_of(path)
        mine = layer(name) if name.startswith("datagen.") else None
        if mine is None:
            continue
        for imported in imports(path):
            theirs = layer(imported) if imported.startswith("datagen.") else None
            assert theirs is None or theirs <= mine, f"{name} imports {imported}"


def test_rewards_know_only_samples_errors_the_registry_and_scenes():
    for path in (ROOT / "rewards").glob("*.py"):
        for imported in imports(path):
            if imported.startswith("datagen"):
                assert imported.split(".")[1:2] in (["sample"], ["errors"], ["registry"], ["scenes"]), path


def test_the_trainer_knows_no_reward_and_no_recipe():
    for path in (ROOT / "trainer").glob("*.py"):
        for imported in imports(path):
            assert not imported.startswith(("rewards", "recipes", "datagen.recipe", "datagen.pipeline")), path


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from datagen.cli import app\n"
        "from typer.testing import CliRunner\n"
        "assert 'weaknesses' in CliRunner().invoke(app, ['--help']).output\n"
        "heavy = {'torch', 'ray', 'transformers', 'datasets', 'pandas', 'faiss', 'numpy', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_module_says_what_it_is():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
