"""Every benchmark's shape: detected by exactly one reader, read with the benchmark's own scores, or refused."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import mutations
from datagen.errors import DatagenError, InputError, ResultsError
from datagen.evals import READERS, detect, merge, read_results
from datagen.evals.files import open_source
from datagen.evals.mapped import parse_map
from datagen.evals.oneig import combine_text
from datagen.weaknesses import find_weaknesses
from tests.datagen.evals.shapes import READER, SHAPES, geneval_row


def read(name, tmp_path, **options):
    return read_results(SHAPES[name](tmp_path), options=options)


def scores(rows):
    return [None if r.score is None else round(r.score, 6) for r in rows]


@pytest.mark.parametrize("name", SHAPES)
def test_exactly_one_reader_takes_each_shape_and_it_gives_weaknesses(tmp_path, name):
    path = SHAPES[name](tmp_path)
    assert detect(open_source(path)) == READER.get(name, name)
    rows = read_results(path)
    assert all(r.benchmark and r.category and r.prompt_id for r in rows)
    assert find_weaknesses(rows)[0].id


def test_every_reader_has_a_shape():
    assert {READER.get(n, n) for n in SHAPES} | {"map"} == set(READERS)


def test_geneval_metadata_says_what_was_asked(tmp_path):
    rows = read("geneval", tmp_path)
    assert rows[0].facets == (("count", "2"), ("class", "bench"))


def test_geneval_without_metadata_is_mined_from_the_prompts_words(tmp_path):
    line = json.loads(geneval_row(1, 0, False, "color_attr"))
    line |= {"metadata": None, "prompt": "a photo of a red bench left of four white dogs"}
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(line) + "\n")
    assert read_results(path)[0].facets == (
        ("count", "4"), ("color", "red"), ("color", "white"), ("relation", "left of")
    )  # fmt: skip


def test_a_geneval_prompt_that_changes_its_tag_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(geneval_row(1, 0) + "\n" + geneval_row(1, 1, tag="colors") + "\n")
    with pytest.raises(ResultsError, match=r":2: prompt 00001 has another tag than on line 1"):
        read_results(path)


def test_an_incomplete_geneval_file_is_read_and_says_what_it_lacks(tmp_path):
    path = tmp_path / "x.jsonl"
    sizes = {"single_object": 80, "two_object": 99, "counting": 74, "colors": 94, "position": 97}
    lines, prompt = [], 0
    for tag, size in sizes.items():
        for _ in range(size):
            lines += [geneval_row(prompt, i, (prompt + i) % 3 > 0, tag) for i in range(4)]
            prompt += 1
    path.write_text("\n".join(lines) + "\n")
    found = {w.category: w.note for w in find_weaknesses(read_results(path)) if not w.parent}
    assert found["counting"].startswith("incomplete: 74 of 80 prompts")
    assert "97 of 100" in found["position"]
    assert any("no color_attr in these results" in note for note in found.values())


def test_geneval2_clips_rounding_and_takes_skills_from_the_benchmark(tmp_path):
    rows = read("geneval2", tmp_path)
    assert [(r.category, r.prompt_id, round(r.score, 2)) for r in rows] == [
        ("count", "00000", 0.31), ("attribute", "00000", 0.9), ("position", "00000", 1.0),
        ("object", "00001", 0.99), ("attribute", "00001", 0.2),
    ]  # fmt: skip
    assert rows[0].reason == "How many bicycles are in the image? expected four"


def test_geneval2_without_its_data_says_how_to_give_it_and_takes_it_from_elsewhere(tmp_path):
    path = SHAPES["geneval2"](tmp_path)
    data = (tmp_path / "geneval2_data.jsonl").rename(tmp_path / "elsewhere.jsonl")
    rows = read_results(path)
    assert {r.category for r in rows} == {"atoms"}
    assert "--benchmark" in rows[0].note
    assert {r.category for r in read_results(path, companions=[data])} >= {"count", "object"}


def test_geneval2_lists_that_do_not_fit_the_benchmark_are_refused(tmp_path):
    path = SHAPES["geneval2"](tmp_path)
    path.write_text(json.dumps([[0.3, 0.9], [0.99, 0.2]]))
    with pytest.raises(ResultsError, match=r"2 scores, .* has 3 atoms"):
        read_results(path)
    path.write_text(json.dumps([[0.3, 0.9, 1.2], [0.99, 0.2]]))
    with pytest.raises(ResultsError, match="within 0 and 1"):
        read_results(path)


def test_dpg_ranks_its_categories_and_only_shows_the_headline(tmp_path):
    rows = read("dpg", tmp_path)
    headline = [r for r in rows if r.category == "headline"]
    assert scores(headline) == [1.0, 0.75, 0.5, 0.5, 0.8, 1.0]
    assert not any(r.ranked for r in headline)
    blocks = {(r.category, r.facets): r for r in rows if r.category != "headline"}
    count = blocks["other", (("L2", "other - count"),)]
    assert (count.score, count.summary) == (0.465, 200)  # 46.5 is 93 of 200
    assert blocks["entity", ()].summary == 6178


def test_dpg_of_a_stopped_run_is_its_images(tmp_path):
    path = SHAPES["dpg"](tmp_path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    rows = read_results(path)
    assert {(r.category, r.ranked) for r in rows} == {("prompts", True)}
    assert "no category scores" in rows[0].note


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("1.0, 0.75, 0.875", "1.0, 0.75, 0.9"), r":1: 0.9 is not the mean of the 2 scores"),
        (("0.875\n", "0.875\nout/images/0.png, 1.0, 0.75, 0.875\n"), "same image as line 1"),
        (("\tentity: ", "\tentity; "), "neither an image's scores nor a category's"),
        (("other - text: 68.0", "other - count: 68.0"), "appears twice"),
        (("entity: 80.2", "entity: 180.2"), "within 0 and 100"),
    ],
)
def test_a_dpg_file_that_contradicts_itself_is_refused(tmp_path, change, says):
    path = SHAPES["dpg"](tmp_path)
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(ResultsError, match=says):
        read_results(path)


def test_dpg_detail_reads_questions_with_commas_and_joins_their_categories(tmp_path):
    rows = read("dpg-detail", tmp_path)
    assert len(rows) == 12
    red = [r for r in rows if r.category == "attribute"]
    assert scores(red) == [0.0, 1.0, 0.0, 1.0]
    assert red[0].facets == (("L2", "attribute - color"),)
    assert red[0].reason == "Is the mug red, or reddish? answered no"
    assert red[0].prompt == "A red mug, number COCOval2014_1"


def test_a_dpg_detail_file_appended_to_itself_is_refused(tmp_path):
    path = SHAPES["dpg-detail"](tmp_path)
    path.write_text(path.read_text() * 2)
    with pytest.raises(ResultsError, match="is there twice"):
        read_results(path)
    (tmp_path / "dpg_bench.csv").unlink()
    with pytest.raises(ResultsError, match="appended to itself"):
        read_results(path)


def test_wise_scores_both_schemas_and_leaves_failed_judgements_unscored(tmp_path):
    rows = read("wise-legacy", tmp_path)
    assert scores(rows) == [0.95, 0.25, 0.6, 0.95, None, 0.6]
    assert [r.category for r in rows] == ["culture", "culture", "time", "time", "space", "biology"]
    assert rows[1].reason == "consistency 0 of 2, aesthetic quality 1 of 2"
    rows = read("wise-verified", tmp_path)
    assert [r.category for r in rows] == ["culture", "time", "space", "biology", "chemistry"]
    assert {r.benchmark for r in rows} == {"wise-verified"}


def test_wise_schemas_in_one_file_are_refused_with_the_line(tmp_path):
    legacy, verified = SHAPES["wise-legacy"](tmp_path), SHAPES["wise-verified"](tmp_path)
    path = tmp_path / "both.jsonl"
    path.write_text(legacy.read_text() + verified.read_text())
    with pytest.raises(ResultsError, match=r":7: field 'consistency' is missing"):
        read_results(path)


def test_oneig_has_empty_cells_unscored_and_sets_classes_and_lengths_as_facets(tmp_path):
    rows = read("oneig-alignment", tmp_path)
    assert scores(rows) == [0.75, None, 0.5]
    assert rows[1].facets == (
        ("set", "Anime_Stylization"), ("class", "ghibli"), ("length", "long"), ("type", "T")
    )  # fmt: skip
    assert rows[0].prompt == "a fox in ink"


def test_oneig_text_is_the_benchmarks_formula(tmp_path):
    assert scores(read("oneig-text", tmp_path)) == [0.75, 1.0, None]
    assert combine_text(25, 0, 0.5, "ZH") == pytest.approx(0.75)
    assert combine_text(500, 0, 0, "EN") == 0.0


def test_a_model_must_be_chosen_where_a_file_holds_several(tmp_path):
    path = SHAPES["oneig-alignment"](tmp_path)
    path.write_text(",bagel,janus\nanime_000,0.75,0.2\nanime_001,,0.4\n")
    with pytest.raises(ResultsError, match="--of: bagel, janus"):
        read_results(path)
    assert scores(read_results(path, options={"of": "janus"})) == [0.2, 0.4]
    with pytest.raises(ResultsError, match="no model 'x'; valid: bagel, janus"):
        read_results(path, options={"of": "x"})


def test_t2i_compbench_folder_names_categories_and_three_in_one_stands_for_its_parts(tmp_path):
    rows = read("t2i-compbench-folder", tmp_path)
    sizes = {c: sum(r.category == c for r in rows) for c in {r.category for r in rows}}
    assert sizes == {"color": 20, "shape": 20, "complex": 20, "spatial": 10}
    assert {r.prompt_id for r in rows if r.category == "color"} == {"00000", "00001"}  # ten images each


def test_a_clip_similarity_is_shown_and_not_ranked_without_a_target_of_its_own(tmp_path):
    rows = [{"question_id": i, "answer": 0.26 + 0.1 * (i // 10 % 2)} for i in range(400)]
    for name in ("non_spatial/annotation_clip", "color/annotation_blip"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "vqa_result.json").write_text(json.dumps(rows))
    found = {w.category: w for w in find_weaknesses(read_results(tmp_path))}
    assert found["non_spatial"].verdict == "shown"
    assert found["non_spatial"].budget == 0
    assert found["color"].target == pytest.approx(0.31)  # the similarity is not in the mean
    found = {w.category: w for w in find_weaknesses(read_results(tmp_path), {"non_spatial": 0.4})}
    assert found["non_spatial"].verdict == "weak"


def test_tiif_scores_agreement_and_joins_short_and_long(tmp_path):
    rows = read("tiif-folder", tmp_path)
    assert len(rows) == 24
    assert {r.facets for r in rows} == {(("prompt length", "short"),), (("prompt length", "long"),)}
    assert sum(r.score for r in rows) == 24 - 8
    assert len({r.prompt_id for r in rows}) == 6


def test_unigenbench_has_a_row_for_each_point_and_null_is_unscored(tmp_path):
    rows = read("unigenbench", tmp_path)
    assert scores(rows)[:6] == [0.0, 1.0, 0.0, None, 1.0, 1.0]
    assert rows[0].category == "Relationship"
    assert rows[0].facets == (("test point", "Comparison"),)
    assert rows[1].facets == ()


def test_dsg_zeroes_what_depends_on_a_no(tmp_path):
    rows = read("dsg", tmp_path)
    assert [(r.prompt_id, r.category, r.score) for r in rows] == [
        ("whoops_5", "entity", 0.0), ("whoops_5", "attribute", 0.0), ("whoops_5", "relation", 0.0),
        ("countbench_7", "entity", 1.0), ("countbench_7", "attribute", 1.0), ("countbench_7", "relation", 0.0),
    ]  # fmt: skip


def test_tifa_recomputes_from_its_questions(tmp_path):
    rows = read("tifa", tmp_path)
    assert [(r.category, r.score) for r in rows] == [
        ("animal/human", 1.0), ("counting", 0.0), ("animal/human", 1.0), ("counting", 1.0)
    ]  # fmt: skip


def test_lm_eval_leaves_groups_out_and_uses_the_files_standard_error(tmp_path):
    rows = read("lm-eval", tmp_path)
    assert [(r.category, r.score, r.summary, r.stderr) for r in rows] == [
        ("mmlu_law", 0.4, 600, 0.02), ("gsm8k", 0.3, 1319, 0.012)
    ]  # fmt: skip
    law = next(w for w in find_weaknesses(rows) if w.category == "mmlu_law")
    assert law.high - law.low == pytest.approx(2 * 1.96 * 0.02, rel=0.05)


def test_lm_eval_samples_under_several_filters_must_be_chosen_among(tmp_path):
    path = SHAPES["lm-eval-samples"](tmp_path)
    assert scores(read_results(path)) == [0, 1, 0, 1, 0, 1]
    path.write_text(path.read_text() + path.read_text().replace('"filter": "none"', '"filter": "strict"'))
    with pytest.raises(ResultsError, match="filter=NAME: none, strict"):
        read_results(path)
    assert len(read_results(path, options={"filter": "strict"})) == 6


def test_inspect_letters_are_scores_and_errors_are_unscored(tmp_path):
    rows = read("inspect", tmp_path)
    assert [(r.category, r.prompt_id, r.image, r.score) for r in rows] == [
        ("drawing", "1", 1, 1.0), ("drawing", "1", 2, 0.0), ("drawing", "2", 1, 0.5), ("drawing", "2", 2, 0.0),
        ("drawing", "3", 1, None),
    ]  # fmt: skip


def test_helm_takes_its_usual_metric_and_no_perturbed_copies(tmp_path):
    rows = read("helm", tmp_path)
    assert scores(rows) == [0, 1, 0, 1]
    assert {r.category for r in rows} == {"mmlu"}
    with pytest.raises(ResultsError, match="score=NAME: exact_match, num_tokens"):
        read("helm", tmp_path, score="f1")


def test_any_csv_is_read_through_its_column_names(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("kind,ok,text,size\ncount,80,two cats,small\ncount,100,two dogs,big\nstyle,,a fox,big\n")
    options = parse_map(["category=kind,score=ok", "prompt=text", "scale=100", "sub=size"])
    rows = read_results(path, options=options)
    assert [(r.category, r.score, r.prompt, r.facets) for r in rows] == [
        ("count", 0.8, "two cats", (("size", "small"),)),
        ("count", 1.0, "two dogs", (("size", "big"),)),
        ("style", None, "a fox", (("size", "big"),)),
    ]


def test_any_jsonl_is_read_through_paths_into_it(tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = [
        {"meta": {"kind": "text"}, "verdict": v, "p": f"p{i % 2}"} for i, v in enumerate(["yes", "no", True])
    ]
    path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    rows = read_results(path, options=parse_map(["category=meta.kind,score=verdict,prompt=p"]))
    assert [(r.score, r.prompt_id, r.image) for r in rows] == [(1.0, "p0", 1), (0.0, "p1", 2), (1.0, "p0", 3)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("category=kind", "score= is needed"),
        ("category=kind,score=nope", "no column 'nope'; there are kind, ok"),
        ("category=kind,score=ok", r":3: ok must lie within 0 and 1, not '12'"),
        ("kategory=kind", "KEY one of category, score"),
        ("category=kind,score=ok,category=ok", "given twice"),
    ],
)
def test_a_map_that_does_not_fit_says_what_would(tmp_path, given, says):
    path = tmp_path / "mine.csv"
    path.write_text("kind,ok\na,1\nb,12\n")
    with pytest.raises(InputError, match=says):
        read_results(path, "map", parse_map([given]))


def test_no_reader_and_several_readers_both_list_them(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("hello\n")
    with pytest.raises(ResultsError, match=r"no reader takes this.*--map category.*unigenbench"):
        read_results(path)


def test_files_of_one_benchmark_are_merged_and_overlap_is_refused(tmp_path):
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text(geneval_row(1, 0) + "\n")
    two.write_text(geneval_row(2, 0) + "\n" + geneval_row(2, 1) + "\n")
    assert len(merge([(one, None), (two, None)])) == 3
    two.write_text(geneval_row(2, 0) + "\n" + geneval_row(1, 0) + "\n")
    with pytest.raises(ResultsError, match=r"b\.jsonl:2: same image also in .*a\.jsonl \(line 1\)"):
        merge([(one, None), (two, None)])


def test_rows_and_totals_of_one_category_are_not_mixed(tmp_path):
    rows, totals = tmp_path / "a.jsonl", tmp_path / "b.txt"
    rows.write_text(geneval_row(1, 0) + "\n")
    totals.write_text("counting = 76.56% (245 / 320)\n")
    with pytest.raises(ResultsError, match="counting as totals"):
        merge([(rows, None), (totals, None)])


def test_an_inspect_archive_says_how_to_unpack_it(tmp_path):
    path = tmp_path / "log.eval"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(ResultsError, match="inspect log convert"):
        read_results(path)


def test_damaged_files_of_every_shape_are_refused_or_read_never_a_traceback(tmp_path):
    outcomes, failure = mutations.run(400, 7, tmp_path)
    assert failure is None
    assert outcomes["refused"] > 200
    assert outcomes["read"] > 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_anywhere_gives_a_beginning_of_its_scores_or_an_error(tmp_path_factory, data):
    name = data.draw(st.sampled_from([n for n in SHAPES if not n.endswith("folder")]))
    path = SHAPES[name](tmp_path_factory.mktemp("cut"))
    whole, content = read_results(path), path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        rows = read_results(path)
    except DatagenError as error:
        assert "\n" not in str(error)
    else:
        assert mutations.judge(name, "cut", rows, whole) is None


@settings(max_examples=60, deadline=None)
@given(junk=st.binary(max_size=200), name=st.sampled_from([n for n in READERS if n != "map"]))
def test_random_bytes_forced_through_any_reader_are_refused(tmp_path_factory, junk, name):
    path = tmp_path_factory.mktemp("junk") / "x.json"
    path.write_bytes(junk)
    with pytest.raises(DatagenError):
        read_results(path, name)


@settings(max_examples=40, deadline=None)
@given(names=st.permutations([n for n in SHAPES if not n.endswith("folder") and n != "geneval-summary"]))
def test_two_formats_in_one_file_are_refused(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    path, other = SHAPES[names[0]](folder / "a"), SHAPES[names[1]](folder / "b")
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(ResultsError):
        read_results(path)


def test_a_json_document_larger_than_a_buffer_is_walked_with_its_line_numbers(tmp_path):
    rng = random.Random(0)
    rows = [
        {"question_id": i, "answer": rng.random(), "note": "x" * rng.randint(0, 500)} for i in range(8000)
    ]
    path = tmp_path / "vqa_result.json"
    path.write_text(json.dumps(rows, indent=1))
    read_back = read_results(path)
    assert [r.score for r in read_back] == [r["answer"] for r in rows]
    assert read_back[1234].line == path.read_text().splitlines().index(
        '  "question_id": 1234,'
    )  # the line of its {
    path.write_text(path.read_text().replace(f'"answer": {rows[7000]["answer"]}', '"answer": NaN'))
    with pytest.raises(ResultsError, match=r"json:\d{5}: not JSON: NaN is not a score"):
        read_results(path)


def test_a_folder_that_holds_one_results_file_is_that_file(tmp_path):
    SHAPES["geneval"](tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "notes.txt").write_text("nothing of note\n")
    assert read_results(tmp_path) == read_results(tmp_path / "results.jsonl")
    (tmp_path / "after.jsonl").write_bytes((tmp_path / "results.jsonl").read_bytes())
    with pytest.raises(ResultsError, match=r"several results files; name one of after.jsonl, results.jsonl"):
        read_results(tmp_path)
