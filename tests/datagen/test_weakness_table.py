"""What a person sees of the weaknesses: the table, the page, the draft of a recipe, the command line."""

import json
import sys
from dataclasses import replace

import pytest

from datagen.cli import main
from datagen.errors import InputError, ResultsError, UnknownName
from datagen.evals import EvalRow, read_results
from datagen.evals.mapped import parse_map
from datagen.loop import choose
from datagen.new_recipe import draft, find, write_draft
from datagen.recipe import load_recipe
from datagen.report import write_report
from datagen.second_judge import suspect
from datagen.weakness_table import print_weaknesses
from datagen.weaknesses import find_weaknesses, read_weaknesses, write_weaknesses


def rows(category, facets, right, start, prompts=30):
    return [
        EvalRow(f"{start + p:05d}", f"prompt {start + p}", category, float((p + i) % 10 < right), i,
                "expected bench>=4, found 3", facets=facets, benchmark="geneval")
        for p in range(prompts)
        for i in range(4)
    ]  # fmt: skip


def results():
    return [
        *rows("counting", (("count", "4"),), 2, 0),
        *rows("counting", (("count", "2"),), 9, 100),
        *rows("colors", (), 10, 200),
        *rows("Text Generation", (), 5, 300),
    ]


@pytest.fixture
def found():
    return find_weaknesses(results(), recipes={"counting": "counting", "colors": "colors"})


def call(monkeypatch, capsys, *argv):
    monkeypatch.setattr(sys, "argv", ["datagen", *map(str, argv)])
    with pytest.raises(SystemExit) as done:
        main()
    out = capsys.readouterr()
    return done.value.code, out.out, out.err


def test_the_table_says_what_fails_how_and_what_to_do(found, capsys):
    print_weaknesses(found, "runs/x/weaknesses.json")
    out = capsys.readouterr().out
    lines = out.splitlines()
    counting = next(i for i, line in enumerate(lines) if line.startswith("counting"))
    assert "by count" in lines[counting]
    assert lines[counting + 1].startswith("  count 4")
    assert "too few" in out and "(expected 4 bench, found 3)" in out
    assert "none yet (text_rendering)" in out
    assert "datagen recipes --new NAME --from-weakness ID" in out
    assert "geneval/Text Generation" in out
    assert "Next: datagen build --from-weaknesses" in out


def test_the_page_has_bars_words_and_the_recipe_or_how_to_start_one(found, tmp_path):
    hostile = [replace(w, examples=("<script>alert(1)</script>",), note="a <b>note</b>") for w in found]
    write_weaknesses(tmp_path / "weaknesses.json", hostile)
    html = write_report(tmp_path).read_text()
    assert html.count("<svg") == len(found)
    assert "&lt;script&gt;" in html and "<script>" not in html and "<b>note" not in html
    assert "datagen build --recipe counting" in html
    assert "--from-weakness 'geneval/Text Generation'" in html


def test_a_draft_loads_as_a_recipe_and_quotes_no_evaluation_prompt(found, tmp_path):
    path = tmp_path / "new" / "four.yaml"
    write_draft(path, draft(find(found, "geneval/counting/count=4"), "four"))
    recipe = load_recipe(path)
    assert (recipe.name, recipe.weakness) == ("four", "counting")
    assert (recipe.targets.sampler, recipe.targets.params) == ("counting", {"min": 4, "max": 4})
    assert all("four" in example for example in recipe.prompts.examples)
    text = path.read_text()
    assert "prompt 0" not in text and "95% interval" in text and "too few" in text
    with pytest.raises(InputError, match="--force"):
        write_draft(path, text)


def test_a_draft_for_what_no_sampler_draws_says_so(found, tmp_path):
    text = draft(find(found, "Text Generation"), "lettering")
    (tmp_path / "x.yaml").write_text(text)
    assert load_recipe(tmp_path / "x.yaml").targets.sampler in ("broad", "text_rendering")
    with pytest.raises(UnknownName, match="valid:"):
        find(found, "counting/count=9")
    with pytest.raises(InputError, match="exists; choose another name"):
        draft(found[0], "counting")


def test_sub_skills_of_one_category_build_one_recipe(found):
    parts = [replace(w, budget=0.3, recipe="counting") for w in found if w.parent] + [
        replace(found[-1], budget=0.4, recipe="colors")
    ]
    chosen = choose(parts, 2, 100)
    assert [(r.name, r.prompts.count) for r in chosen] == [("counting", 60), ("colors", 40), ("broad", 10)]
    assert "broad" not in [r.name for r in choose(parts, 2, 100, rehearsal=0)]
    with pytest.raises(InputError, match="easier"):
        choose([replace(found[0], budget=0.0, advice="try something easier")], 2, 100)


def test_a_category_that_is_split_has_one_floor():
    split = [row for n in range(2, 6) for row in rows("counting", (("count", str(n)),), 2 * n - 3, 100 * n)]
    found = find_weaknesses([*split, *rows("colors", (), 0, 900)], target=0.9, cap=0.95)
    parts = [w.budget for w in found if w.parent and w.budget]
    assert len(parts) > 1
    assert min(parts) < 0.05 <= sum(parts)
    assert sum(w.budget for w in found) == pytest.approx(1)


def test_a_second_judge_who_disagrees_makes_a_weakness_suspect():
    first = [*rows("counting", (), 2, 0), *rows("colors", (), 9, 100)]
    second = [r._replace(score=1.0) if r.category == "counting" else r for r in first]
    marked = {w.category: w.note for w in suspect(find_weaknesses(first), first, second)}
    assert "detector-suspect: a second judge scores the same images 100.0" in marked["counting"]
    assert marked["colors"] == ""


def test_the_file_keeps_everything_but_counts_of_what_was_not_scored(found, tmp_path):
    write_weaknesses(tmp_path / "w.json", found)
    assert read_weaknesses(tmp_path / "w.json") == found


def test_the_command_reads_any_csv_ranks_it_and_starts_a_recipe(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.csv"
    lines = [f"{kind},{int((p * 7 + i) % 10 < right)},{kind} prompt {p},{p},{i}"
             for kind, right in (("negation", 2), ("style", 9)) for p in range(20) for i in range(4)]  # fmt: skip
    path.write_text("kind,ok,text,p,i\n" + "\n".join(lines) + "\n")
    run = tmp_path / "run"
    code, out, err = call(
        monkeypatch, capsys, "weaknesses", "--from-eval", path, "--run", run, "--target", "0.8",
        "--map", "category=kind,score=ok,prompt=text", "--map", "id=p,image=i",
    )  # fmt: skip
    assert code == 0, err
    assert out.index("negation") < out.index("style")
    assert [w.id for w in read_weaknesses(run / "weaknesses.json")] == ["mine/negation", "mine/style"]
    target = tmp_path / "no.yaml"
    code, out, err = call(
        monkeypatch,
        capsys,
        "recipes",
        "--new",
        "no",
        "--from-weakness",
        "negation",
        "--run",
        run,
        "--out",
        target,
    )
    assert code == 0, err
    assert load_recipe(target).weakness == "negation"


def test_the_command_prints_json_with_ids_verdicts_and_parents(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("kind,ok\n" + "a,1\n" * 30 + "b,0\n" * 30)
    code, out, _ = call(
        monkeypatch,
        capsys,
        "weaknesses",
        "--from-eval",
        path,
        "--run",
        tmp_path,
        "--json",
        "--map",
        "category=kind,score=ok",
    )
    assert code == 0
    first = json.loads(out)[0]
    assert (first["id"], first["verdict"], first["parent"], first["suggestion"]) == (
        "mine/b",
        "weak",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--map", "category"], "KEY=COLUMN"),
        (["--target", "high"], "a score like 0.9"),
        (["--target", "b=0.5"], "no such category; valid: a"),
        (["--floor", "0.9", "--cap", "0.1"], "0 <= floor <= cap <= 1"),
        (["--of", "x", "--format", "oneig"], "mine.csv"),
        (["--second-judge", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, argv, says):
    path = tmp_path / "mine.csv"
    path.write_text("kind,ok\na,1\na,0\n")
    default = [] if "--map" in argv or "--format" in argv else ["--map", "category=kind,score=ok"]
    code, _, err = call(
        monkeypatch, capsys, "weaknesses", "--from-eval", path, "--run", tmp_path, *default, *argv
    )
    assert (code, err.count("\n")) == (2, 1)
    assert says in err


def test_a_new_recipe_needs_a_name_and_a_weakness(tmp_path, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "recipes", "--new", "x", "--run", tmp_path)
    assert (code, "both --new NAME and --from-weakness ID" in err) == (2, True)


def test_map_options_are_parsed_from_several_flags():
    assert parse_map(["category=a, score=b", "scale=10"]) == {"category": "a", "score": "b", "scale": "10"}


def test_a_comma_in_a_columns_name_is_part_of_it():
    given = ["score=exact_match,flexible-extract,category=task", "prompt=doc"]
    assert parse_map(given) == {"score": "exact_match,flexible-extract", "category": "task", "prompt": "doc"}


def test_rows_without_an_id_are_prompts_of_their_own(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("".join('{"c": "hands", "s": 1, "i": null}\n' for _ in range(30)))
    options = parse_map(["category=c,score=s,id=i"])
    assert find_weaknesses(read_results(path, None, options))[0].prompts == 30


@pytest.mark.parametrize("name", ["text-to-image", "discount_model", "colorful"])
def test_a_mapped_files_name_chooses_no_recipe(tmp_path, name):
    path = tmp_path / f"{name}.csv"
    path.write_text("kind,ok\n" + "hands,0\ncats,1\n" * 20)
    found = find_weaknesses(
        read_results(path, None, parse_map(["category=kind,score=ok"])), recipes={"counting": "counting"}
    )
    assert {(w.recipe, w.suggestion) for w in found} == {(None, None)}


def test_names_in_brackets_and_torn_letters_are_printed_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"c": "hands [/bold]", "s": 0, "p": "a \\ud83d"}\n{"c": "feet [left]", "s": 1, "p": "b"}\n'
    )
    code, out, _ = call(
        monkeypatch,
        capsys,
        "weaknesses",
        "--from-eval",
        path,
        "--map",
        "category=c,score=s,prompt=p",
        "--run",
        tmp_path,
    )
    assert code == 0 and "hands [/bold]" in out and "feet [left]" in out


def test_what_comes_next_names_the_run(found, capsys):
    print_weaknesses(found, "runs/x/weaknesses.json", " --run runs/y")
    out = capsys.readouterr().out
    assert "datagen build --from-weaknesses [--model MODEL] --run runs/y" in out
    print_weaknesses([replace(w, budget=0.0) for w in found], "runs/x/weaknesses.json")
    assert "Nothing lies below its target" in capsys.readouterr().out


def test_benchmark_data_that_is_not_there_is_told(tmp_path):
    (tmp_path / "r.csv").write_text("kind,ok\nhands,0\n")
    with pytest.raises(ResultsError, match=r"--benchmark .*gone.csv: no such file"):
        read_results(tmp_path / "r.csv", None, parse_map(["category=kind,score=ok"]), [tmp_path / "gone.csv"])


def test_a_draft_of_a_category_of_two_lines_still_loads(found, tmp_path):
    text = draft(replace(found[0], id="x/two\nlines", label="two\nlines"), "two_lines")
    (tmp_path / "two_lines.yaml").write_text(text)
    assert load_recipe(str(tmp_path / "two_lines.yaml")).name == "two_lines"


def test_two_results_are_compared_through_a_map_and_what_is_left_out_is_said(tmp_path, monkeypatch, capsys):
    for name, right in (("before", "0"), ("after", "1")):
        body = "".join(f"hands,{right},{i}\n" for i in range(10)) + ("feet,1,99\n" if right == "1" else "")
        (tmp_path / f"{name}.csv").write_text(f"kind,ok,n\n{body}")
    paths = tmp_path / "before.csv", tmp_path / "after.csv"
    code, out, err = call(
        monkeypatch, capsys, "compare", *paths, "--map", "category=kind,score=ok,id=n,image=n"
    )
    assert code == 0 and "+100.0" in out
    assert "after.csv: 1 scored images have no partner and are left out" in err
