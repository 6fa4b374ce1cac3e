"""The command line as a user meets it: the loop on the fake model, exit codes, one-line errors."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from datagen.checks import resolved
from datagen.cli import main, resumed
from datagen.console import table
from datagen.models.vocabulary import vocabulary_of
from datagen.recipe import load_recipe

SMALL = ["--model", "fake", "--llm", "template", "--per-category", "4", "--images", "2", "--prompts", "16",
         "--candidates", "4", "--epochs", "1"]  # fmt: skip


def call(monkeypatch, capsys, *argv):
    monkeypatch.setattr(sys, "argv", ["datagen", *map(str, argv)])
    code = 0
    try:
        main()
    except SystemExit as done:
        code = done.code
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("loop") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["datagen", "run", "--run", str(run), *SMALL])
        with pytest.raises(SystemExit) as done:
            main()
    assert done.value.code == 0
    return run


def test_the_loop_leaves_everything_in_the_run_directory(finished):
    for name in (
        "eval/before.jsonl", "eval/after.jsonl", "weaknesses.json", "manifest.json", "dataset/README.md",
        "model/config.json", "model/log.jsonl", "comparison.json", "timings.json", "report.html",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert list((finished / "recipes").glob("*.yaml"))


def test_a_finished_loop_run_again_does_nothing_twice(finished, monkeypatch, capsys):
    before = {p: p.stat().st_mtime_ns for p in (finished / "eval").rglob("*")}
    code, out, _ = call(monkeypatch, capsys, "run", "--run", finished, *SMALL)
    assert code == 0
    assert "overall" in out and "report:" in out
    assert {p: p.stat().st_mtime_ns for p in (finished / "eval").rglob("*")} == before


def test_a_loop_with_other_settings_says_what_changed(finished, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "run", "--run", finished, *SMALL, "--seed", "1")
    assert code == 2
    assert "seed: 0 -> 1" in err


def test_the_report_is_one_page_with_nothing_from_outside(finished):
    html = (finished / "report.html").read_text()
    assert "Weaknesses" in html and "Before and after" in html and "data:image/png;base64," in html
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", html)


def test_hostile_text_is_escaped_in_the_report(finished, tmp_path):
    import shutil

    from datagen.report import write_report

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in ("before", "after"):
        path = run / "eval" / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[0]["prompt"] = "<script>alert(1)</script>"
        rows[0]["image"] = "../../../../../../etc/passwd"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    html = write_report(run).read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_weaknesses_prints_json_for_programs(finished, monkeypatch, capsys):
    code, out, _ = call(
        monkeypatch,
        capsys,
        "weaknesses",
        "--from-eval",
        finished / "eval/before.jsonl",
        "--run",
        finished,
        "--json",
    )
    found = json.loads(out)
    assert code == 0
    assert {"category", "score", "low", "high", "gap", "budget", "recipe"} <= set(found[0])


def test_a_second_turn_gives_budget_by_what_the_first_moved(finished, tmp_path, monkeypatch, capsys):
    turn = ["weaknesses", "--target", "0.99", "--run", tmp_path / "second", "--json"]
    code, out, _ = call(monkeypatch, capsys, *turn, "--moved-by", finished)
    assert code == 0 and sum(w["budget"] for w in json.loads(out)) == pytest.approx(1)
    assert (tmp_path / "second" / "weaknesses.json").exists()
    before = finished / "eval/before.jsonl"
    same = call(monkeypatch, capsys, *turn, "--moved-by", finished, "--before", before)
    assert same[:2] == (0, out)
    code, _, err = call(monkeypatch, capsys, *turn, "--before", before)
    assert code == 2 and "--moved-by" in err


def test_compare_prints_a_verdict_for_each_category(finished, monkeypatch, capsys):
    code, out, _ = call(
        monkeypatch, capsys, "compare", finished / "eval/before.jsonl", finished / "eval/after.jsonl"
    )
    assert code == 0
    assert out.count("no clear change") == 7


def test_publish_dry_run_lists_the_files(finished, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "publish", "me/data", "--run", finished, "--dry-run")
    assert code == 0
    assert "README.md" in out and "private" in out


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["build", "--recipe", "countng"], 2, "did you mean 'counting'"),
        (["build", "--recipe", "counting", "--llm", "gpt"], 2, "unknown LLM 'gpt'; valid: openai, smollm2"),
        (["build"], 2, "either --recipe NAME or --from-weaknesses"),
        (["build", "--from-weaknesses"], 2, "run datagen weaknesses first"),
        (
            ["build", "--recipe", "counting", "--llm", "template", "--model", "pockt"],
            2,
            "did you mean 'pocket'",
        ),
        (["eval", "--suite", "scene"], 2, "unknown suite"),
        (["train"], 2, "no dataset here; run datagen build first"),
        (["train", "--weight", "sound"], 2, "valid: text,image"),
        (["weaknesses", "--from-eval", "nowhere.jsonl"], 2, "nowhere.jsonl: cannot be read"),
        (["publish", "nobody"], 2, "USER/NAME"),
        (["doctor", "bagle"], 2, "did you mean 'bagel'"),
        (["eval", "--model", "pocet"], 2, "did you mean 'pocket'"),
        (["build", "--recipe", "counting", "--candidates", "5000"], 2, "less than or equal to 1024"),
        (["build", "--recipe", "counting", "--ray-address", "x:1"], 2, "give --workers, 1 or more"),
        (["build", "--recipe", "counting", "--reward-workers", "2"], 2, "give --workers, 1 or more"),
        (
            ["build", "--recipe", "counting", "--llm", "template", "--run", "/dev/null/x"],
            2,
            "cannot be a run directory",
        ),
        (["report"], 2, "no such run directory"),
        (["frobnicate"], 2, "No such command"),
        (["build", "--recipe", "counting", "--workers", "many"], 2, "--workers is N, or MIN:MAX"),
        (
            ["build", "--recipe", "counting", "--reward-workers", "3:2"],
            2,
            "--reward-workers is N, or MIN:MAX",
        ),
    ],
)
def test_a_bad_call_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, argv, code, says):
    monkeypatch.chdir(tmp_path)
    got, _, err = call(monkeypatch, capsys, *argv)
    assert got == code
    assert says in err
    assert (
        len([line for line in err.splitlines() if "/" not in line.split(":")[-1] or "datagen:" in line]) <= 2
    )
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_build_and_a_loop_join_the_cluster_that_they_are_told_of(tmp_path, monkeypatch, capsys):
    import ray
    from ray.cluster_utils import Cluster

    joined, init = [], ray.init
    monkeypatch.setattr(ray, "init", lambda **how: joined.append(how["address"]) or init(**how))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    address = cluster.address  # gone when it is shut down
    at = ["--workers", "1", "--ray-address", address, "--model", "fake", "--llm", "template"]
    try:
        built = call(
            monkeypatch, capsys, "build", "--recipe", "counting", "--prompts", "8", "--candidates", "2", *at,
            "--llm-workers", "1", "--llm-batch", "8", "--reward-workers", "1:2", "--run", tmp_path / "build",
        )  # fmt: skip
        looped = call(monkeypatch, capsys, "run", "--run", tmp_path / "loop", *SMALL, *at)
    finally:
        cluster.shutdown()
    assert (built[0], looped[0]) == (0, 0)
    assert set(joined) == {address} and len(joined) >= 3
    alone = ["--prompts", "8", "--candidates", "2", "--model", "fake", "--llm", "template"]
    call(monkeypatch, capsys, "build", "--recipe", "counting", *alone, "--run", tmp_path / "alone")
    one, other = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "shards").iterdir()}
        for name in ("build", "alone")
    )
    assert one == other and one


def test_eval_does_not_overwrite_without_force(finished, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "eval", "--model", "fake", "--run", finished)
    assert code == 2
    assert "--force" in err


def test_preview_shows_prompts_and_weights(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(
        monkeypatch,
        capsys,
        "build",
        "--recipe",
        "counting",
        "--preview",
        "2",
        "--model",
        "fake",
        "--llm",
        "template",
    )
    assert code == 0
    prompts = [block.splitlines() for block in out.split("\n\n")[1:]]
    assert [len(lines) for lines in prompts] == [9, 9]  # the prompt, then its candidates
    assert list(tmp_path.iterdir()) == []


def test_recipes_and_doctor_list_what_there_is(monkeypatch, capsys):
    assert "counting" in call(monkeypatch, capsys, "recipes")[1]
    assert "sampler: position" in call(monkeypatch, capsys, "recipes", "position")[1]
    assert "smollm2" in call(monkeypatch, capsys, "doctor")[1]


@pytest.mark.parametrize(
    ("argv", "how"),
    [
        (["build"], "run the same command to resume"),
        (["build", "--force"], "run the same command to resume, without --force"),
        (["train"], "run the same command to resume, with --resume if a checkpoint was saved"),
        (["train", "--force"], "--resume instead of --force goes on"),
        (["train", "--resume"], "run the same command to resume"),
    ],
)
def test_what_goes_on_is_never_what_begins_anew(argv, how):
    assert resumed(argv) == how


def test_ctrl_c_says_how_to_resume(monkeypatch, capsys):
    from datagen import pipeline

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "build", stop)
    code, _, err = call(monkeypatch, capsys, "build", "--recipe", "counting", "--llm", "template")
    assert code == 130
    assert "resume" in err


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "datagen.cli", "--debug", "build", "--recipe", "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" in done.stderr


def test_a_turn_after_another_has_no_other_model(finished, tmp_path, monkeypatch, capsys):
    code, _, err = call(
        monkeypatch, capsys, "run", "--run", tmp_path / "r", "--after", finished, "--model", "fake"
    )
    assert code == 2 and f"--after starts from {finished / 'model'}; leave --model out" in err
    assert not (tmp_path / "r").exists()


def test_each_step_names_the_next_and_the_trained_model_is_evaluated_beside_the_first(
    tmp_path, monkeypatch, capsys
):
    run = ["--run", tmp_path]
    few = ["--per-category", "1", "--images", "1"]
    says = [
        call(monkeypatch, capsys, *argv, *run)[1].splitlines()[-1]
        for argv in (
            ["eval", "--model", "fake", *few],
            ["build", "--recipe", "counting", "--prompts", "4", "--model", "fake", "--llm", "template"],
            ["train", "--model", "fake", "--steps", "2"],
            ["eval", "--model", tmp_path / "model", *few],
        )
    ]
    assert says == [
        f"Next: datagen weaknesses --run {tmp_path}",
        f"Next: datagen train --model fake --run {tmp_path}",
        f"Next: datagen eval --model {tmp_path / 'model'} --run {tmp_path}",
        f"Next: datagen compare {tmp_path / 'eval' / 'before.jsonl'} {tmp_path / 'eval' / 'after.jsonl'}",
    ]


def test_a_training_that_was_stopped_is_not_begun_anew_unasked(finished, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "model" / "training.json").unlink()
    (run / "model" / "trainer" / "checkpoint-1").mkdir(exist_ok=True)
    (run / "model" / "trainer" / "checkpoint-1" / "average.pt").touch()
    code, _, err = call(monkeypatch, capsys, "train", "--run", run, "--model", "fake")
    assert code == 2 and "--resume goes on, --force begins anew" in err


def test_results_of_another_model_are_not_taken_for_the_loops_own(tmp_path, monkeypatch, capsys):
    few = ["--per-category", "4", "--images", "2", "--run", tmp_path]
    assert call(monkeypatch, capsys, "eval", "--model", "fake", "--no-trace", *few)[0] == 0
    code, _, err = call(monkeypatch, capsys, "run", *SMALL, "--run", tmp_path)
    assert code == 2 and "before.jsonl: was made with other settings" in err
    assert not (tmp_path / "shards").exists()


def test_a_merge_makes_the_folder_it_is_told(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "both"
    code, said, _ = call(monkeypatch, capsys, "merge", finished, finished, "--out", out)
    assert code == 0 and "Merged into" in said and (out / "dataset" / "README.md").is_file()
    code, said, _ = call(monkeypatch, capsys, "alarms", "--run", out, "--judge", "scenes")
    assert code == 2  # a merged run has no recipes/; its card still knows what weighed


def test_help_fits_and_says_the_version(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys)
    assert code == 0 and out.startswith("Usage: datagen") and "..." not in out.partition("Commands:")[2]
    assert call(monkeypatch, capsys, "-h")[1] == out
    assert re.fullmatch(r"datagen \d+\.\d+.*\n", call(monkeypatch, capsys, "--version")[1])


@pytest.mark.parametrize(
    "model", ["bagel?image_size=512", "pocket?steps=4", "OWNER/NAME", "OWNER/NAME?batch=8"]
)
def test_a_build_takes_every_name_that_a_model_loads_by(model):
    recipes = resolved([load_recipe("counting")], model)
    assert recipes[0].for_vocabulary(vocabulary_of(model)) == recipes[0]


def test_a_narrow_terminal_cuts_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    rows = [("a weakness", "12,345", "-3.0 to +40.0", "better")]
    for width, shown in ((90, "12,345"), (46, "-3.0 to +40.0"), (20, "-3.0 to +40.0")):
        monkeypatch.setenv("COLUMNS", str(width))
        table("t", ("name", "images", "interval", "verdict"), rows, ("images",))
        out = capsys.readouterr().out
        assert shown in out and "better" in out and "…" not in out
        assert ("12,345" in out) == (width == 90)
