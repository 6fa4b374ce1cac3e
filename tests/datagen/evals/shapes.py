"""Results files in the exact shapes that the benchmarks write, made here; none is copied from anywhere.

``SHAPES[name](folder)`` writes one and returns its path (a folder for those that are folders). Used by
the tests and by ``benchmarks.mutations``.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def geneval_row(
    prompt: int, image: int, correct: bool | None = True, tag: str = "counting", **extra: Any
) -> str:
    metadata = {"tag": tag, "include": [{"class": "bench", "count": 2}], "prompt": "two benches"}
    row = {
        "filename": f"runs/x/{prompt:05d}/samples/{image:04d}.png",
        "tag": tag,
        "prompt": f"two benches {prompt}",
        "correct": correct,
        "reason": "" if correct else "expected bench>=2, found 1",
        "metadata": json.dumps(metadata),
        "details": json.dumps({"bench": [[1, 2, 3, 4]]}),
        **extra,
    }
    return json.dumps(row).replace("/", "\\/")  # pandas' to_json escapes slashes


def _write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def _csv(folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")  # as pandas writes
        writer.writerow(header)
        writer.writerows(rows)
    return path


def geneval(folder: Path) -> Path:
    tags = ("counting", "colors", "position")
    rows = [geneval_row(p, i, (p + i) % 3 > 0, tags[p % 3]) for p in range(9) for i in range(2)]
    return _write(folder, "results.jsonl", "\n".join(rows) + "\n")


def geneval_summary(folder: Path) -> Path:
    return _write(folder, "summary.txt", """
Summary
=======
Total images: 2212
Total prompts: 553
% correct images: 80.15%
% correct prompts: 92.04%

Task breakdown
==============
counting         = 76.56% (245 / 320)
colors           = 90.43% (340 / 376)
color_attr       = 61.50% (246 / 400)

Overall score (avg. over tasks): 0.83500
""")  # fmt: skip


ATOMS = [
    {
        "prompt": "four white bicycles in front of three plastic cows",
        "atom_count": 7,
        "vqa_list": [["How many bicycles are in the image?", "four"], ["Are the bicycles white?", "Yes"],
                     ["Are the bicycles in front of the cows?", "Yes"]],
        "skills": ["count", "attribute", "position"],
    },
    {"prompt": "a red bench", "atom_count": 2, "vqa_list": [["Is there a bench?", "Yes"], ["Is it red?", "Yes"]],
     "skills": ["object", "attribute"]},
]  # fmt: skip


def geneval2(folder: Path) -> Path:
    _write(folder, "geneval2_data.jsonl", "".join(json.dumps(a) + "\n" for a in ATOMS))
    return _write(folder, "score_lists.json", json.dumps([[0.31, 0.9, 1.0000002], [0.99, 0.2]]))


def dpg(folder: Path) -> Path:
    lines = [
        f"out/images/{i}.png, {a}, {b}, {(a + b) / 2}"
        for i, a, b in ((0, 1.0, 0.75), (1, 0.5, 0.5), (2, 0.8, 1.0))
    ]
    return _write(folder, "dpg-bench_20250101-000000_results.txt", "\n".join(lines) + """
Model: images
L1 category scores:
\tentity: 80.20394949821949
\tattribute: 82.32121454254894
\tglobal: 78.83435582822086
\tother: 50.8
L2 category scores:
\tattribute - color: 85.6353591160221
\tattribute - shape: 68.99563318777294
\tentity - part: 82.2265625
\tentity - whole: 80.76271186440678
\tglobal -: 78.83435582822086
\tother - count: 46.5
\tother - text: 68.0
Image path: out/images
Save results to: out/dpg-bench_20250101-000000_results.txt
DPG-Bench score: 75.83333333333333
""")  # fmt: skip


QUESTIONS = [("1", "", "entity", "whole", "Is there a mug?"), ("2", "1", "attribute", "color", "Is the mug red, or reddish?"),
             ("3", "1", "relation", "spatial", "Is the mug on the table?")]  # fmt: skip


def _sheet(folder: Path, name: str, items: Sequence[str]) -> None:
    header = ["item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed",
              "tuple", "question_natural_language"]  # fmt: skip
    rows = [
        (
            item,
            f"A red mug, number {item}",
            "mug",
            q,
            parents or "0",
            broad,
            detailed,
            f"{broad} - {detailed} (x)",
            text,
        )
        for item in items
        for q, parents, broad, detailed, text in QUESTIONS
    ]
    _csv(folder, name, header, rows)


def dpg_detail(folder: Path) -> Path:
    _sheet(folder, "dpg_bench.csv", ["COCOval2014_1", "partiprompts2"])
    lines = [
        f"out/images/{item}.png, {crop}, {text}, {'no' if q == '2' and crop.startswith('(0') else 'yes'}"
        for item in ("COCOval2014_1", "partiprompts2")
        for crop in ("(0, 0, 512, 512)", "(512, 0, 1024, 512)")
        for q, _, _, _, text in QUESTIONS
    ]
    return _write(folder, "dpg-bench_20250101-000000_results_detail.txt", "\n".join(lines) + "\n")


def wise_legacy(folder: Path) -> Path:
    rows = [
        {"prompt_id": i, "Subcategory": s, "consistency": c, "realism": 2.0, "aesthetic_quality": 1.0}
        for i, s, c in ((1, "Festival", 2.0), (2, "Festival", 0.0), (401, "Horizontal time", 1.0), (567, "Longitudinal time", 2.0),
                        (700, "Geography", 999), (701, "Plants", 1.0))
    ]  # fmt: skip
    return _write(folder, "culture_scores_results.jsonl", "".join(json.dumps(r) + "\n" for r in rows))


def wise_verified(folder: Path) -> Path:
    rows = [{"prompt_id": i, "Subcategory": s, "score": c}
            for i, s, c in ((1, "Festival", 1), (401, "Time", 0), (521, "Geography", 1), (641, "Plants", 0), (1000, "X", 1))]  # fmt: skip
    return _write(folder, "scores.jsonl", "".join(json.dumps(r) + "\n" for r in rows))


def oneig_alignment(folder: Path) -> Path:
    _csv(folder, "OneIG-Bench.csv", ["category", "id", "prompt_en", "type", "prompt_length", "class"],
         [("Anime_Stylization", "000", "a fox in ink", "NP", "short", "None"),
          ("Anime_Stylization", "001", "a cat, long told", "T", "long", "ghibli"),
          ("Portrait", "000", "a man", "P", "middle", "None")])  # fmt: skip
    return _csv(folder, "alignment_prompt_score_EN_2025-06-10_10-00-00.csv", ["", "bagel"],
                [("anime_000", 0.75), ("anime_001", ""), ("human_000", 0.5)])  # fmt: skip


def oneig_text(folder: Path) -> Path:
    return _csv(folder, "text_prompt_score_EN_2025-06-10_10-00-00.csv", ["", "bagel"],
                [("000", "[50.0, 0.0, 0.5]"), ("001", "[0.0, 1.0, 1.0]"), ("002", "")])  # fmt: skip


def t2i_compbench(folder: Path) -> Path:
    root = folder / "t2i"
    for category in ("color", "shape"):
        rows = [{"question_id": i, "answer": f"{(i % 7) / 10:.4f}"} for i in range(20)]
        _write(root, f"{category}/annotation_blip/vqa_result.json", json.dumps(rows))
        _write(root, f"{category}/annotation1_blip/VQA/result/vqa_result.json", json.dumps(rows))
    for evaluator in ("annotation_blip", "annotation_clip", "annotation_3_in_1"):
        rows = [{"question_id": i, "answer": 0.25 + i / 100} for i in range(20)]
        _write(root, f"complex/{evaluator}/vqa_result.json", json.dumps(rows))
    spatial = [{"question_id": i, "answer": 0.5} for i in range(10)]
    _write(root, "spatial/labels/annotation_obj_detection_2d/vqa_result.json", json.dumps(spatial))
    return root


def vqa_result(folder: Path) -> Path:
    rows = [{"question_id": i, "answer": f"{(i % 7) / 10:.4f}"} for i in range(20)]
    return _write(folder, "vqa_result.json", json.dumps(rows))


def tiif(folder: Path) -> Path:
    root = folder / "eval_results"
    for attribute in ("2d_spatial_relation", "action+3d"):
        for length in ("short", "long"):
            for index in range(3):
                row = {
                    "attribute": attribute,
                    "desc": f"{length}_description",
                    "jsonl_file": f"{attribute}_prompts.jsonl",
                    "line_idx": index,
                    "questions": ["Is there a cat?", "Is it under the microwave?"],
                    "gt_answers": ["yes", "yes"],
                    "model_pred": ["yes", "no" if index else "yes"],
                    "model_output": "yes\nno",
                }
                _write(root, f"bagel/{attribute}/{length}/{index}.json", json.dumps(row, indent=2))
    return root


def tiif_file(folder: Path) -> Path:
    return tiif(folder) / "bagel" / "action+3d" / "long" / "1.json"


def unigenbench(folder: Path) -> Path:
    points = ["Relationship - Comparison", "World Knowledge"]
    rows = []
    for index in range(3):
        for image in range(2):
            result = {"prompt": "p", "testpoint": points, "analysis": ["It is\nbigger.", "Known."],
                      "score": [index % 2, None if image else 1]}  # fmt: skip
            rows.append((index, f"a prompt, {index}", str(points), "<score>[1, 0]</score>\nlong text",
                         json.dumps(result, ensure_ascii=False, indent=4), f"out/model/{index}_{image}.png"))  # fmt: skip
    header = ["index", "prompt", "testpoint", "output", "result_json", "img_path"]
    return _csv(folder, "model_en.csv", header, rows)


def dsg(folder: Path) -> Path:
    _sheet(folder, "dsg-1k-anns.csv", ["whoops_5", "countbench_7"])
    header = [
        "dsg_prompt_split",
        "qg_model",
        "t2i_model",
        "item_id",
        "question",
        "question_id",
        "dependency_id",
        "answer",
    ]
    rows = [
        ("dsg1k", "dsg", "sd2dot1", item, text, q, parents or "0", answer)
        for item, answers in (("whoops_5", ("no", "yes", "yes")), ("countbench_7", ("yes", "yes", "no")))
        for (q, parents, _, _, text), answer in zip(QUESTIONS, answers, strict=True)
    ]
    return _csv(folder, "mplug_dsg.csv", header, rows)


def tifa(folder: Path) -> Path:
    def question(kind: str, element: str, score: int) -> dict[str, Any]:
        return {"id": "coco_1", "caption": "Three cats.", "question": "q", "choices": ["yes", "no"], "answer": "yes",
                "element_type": kind, "element": element, "free_form_vqa": "yes", "multiple_choice_vqa": "yes",
                "scores": score}  # fmt: skip

    details = {
        item: {
            "are there cats?": question("animal/human", "cats", 1),
            "are there three cats?": question("counting", "three", s),
        }
        for item, s in (("coco_1", 0), ("drawbench_2", 1))
    }
    whole = {"tifa_average": 0.75, "tifa_stdev": 0.2, "accuracy_by_type": {"counting": 0.5}, "question_details": details,
             "caption_scores": {"coco_1": 0.5, "drawbench_2": 1}}  # fmt: skip
    return _write(folder, "result.json", json.dumps(whole, indent=4))


def lm_eval(folder: Path) -> Path:
    whole = {
        "results": {
            "mmlu": {"alias": "mmlu", "acc,none": 0.5, "acc_stderr,none": 0.01},
            "mmlu_law": {"alias": " - law", "acc,none": 0.4, "acc_stderr,none": 0.02},
            "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.3, "exact_match_stderr,strict-match": 0.012,
                      "exact_match,flexible-extract": 0.35, "exact_match_stderr,flexible-extract": 0.013},
        },
        "groups": {"mmlu": {"alias": "mmlu", "acc,none": 0.5}},
        "group_subtasks": {"mmlu": ["mmlu_law"], "gsm8k": []},
        "configs": {"gsm8k": {"task": "gsm8k"}},
        "n-samples": {"mmlu_law": {"original": 600, "effective": 600}, "gsm8k": {"original": 1319, "effective": 1319}},
    }  # fmt: skip
    return _write(folder, "results_2025-01-01T00-00-00.000000.json", json.dumps(whole, indent=2))


def lm_eval_samples(folder: Path) -> Path:
    rows = [
        {"doc_id": i, "doc": {"question": f"q {i}?"}, "target": "4", "arguments": {}, "resps": [["4"]], "filtered_resps": ["4"],
         "filter": "none", "metrics": ["exact_match"], "exact_match": float(i % 2)}
        for i in range(6)
    ]  # fmt: skip
    return _write(
        folder, "samples_gsm8k_2025-01-01T00-00-00.000000.jsonl", "".join(json.dumps(r) + "\n" for r in rows)
    )


def inspect_log(folder: Path) -> Path:
    def sample(i: int, epoch: int, value: Any) -> dict[str, Any]:
        return {"id": i, "epoch": epoch, "input": f"Draw {i}.", "target": "4", "messages": [],
                "scores": {"match": {"value": value, "answer": "4", "explanation": "said 4"}}}  # fmt: skip

    whole = {
        "version": 2,
        "status": "success",
        "eval": {"run_id": "x", "task": "drawing", "model": "openai/gpt"},
        "results": {"total_samples": 2, "completed_samples": 2},
        "samples": [sample(1, 1, "C"), sample(1, 2, "I"), sample(2, 1, "P"), sample(2, 2, "N"),
                    {**sample(3, 1, "C"), "scores": {}, "error": {"message": "timeout"}}],
    }  # fmt: skip
    return _write(folder, "log.json", json.dumps(whole, indent=2))


def helm(folder: Path) -> Path:
    def stat(name: str, mean: float, **more: Any) -> dict[str, Any]:
        return {"name": {"name": name, "split": "test", **more}, "count": 1, "sum": mean, "mean": mean}

    rows = [
        {
            "instance_id": f"id{i}",
            "train_trial_index": 0,
            "stats": [stat("num_tokens", 7), stat("exact_match", i % 2)],
        }
        for i in range(4)
    ]
    rows.append({"instance_id": "id0", "perturbation": {"name": "robustness"}, "train_trial_index": 0,
                 "stats": [stat("exact_match", 0, perturbation={"name": "robustness"})]})  # fmt: skip
    return _write(folder, "mmlu/per_instance_stats.json", json.dumps(rows, indent=2))


SHAPES: dict[str, Callable[[Path], Path]] = {
    "geneval": geneval,
    "geneval-summary": geneval_summary,
    "geneval2": geneval2,
    "dpg": dpg,
    "dpg-detail": dpg_detail,
    "wise-legacy": wise_legacy,
    "wise-verified": wise_verified,
    "oneig-alignment": oneig_alignment,
    "oneig-text": oneig_text,
    "t2i-compbench": vqa_result,
    "t2i-compbench-folder": t2i_compbench,
    "tiif": tiif_file,
    "tiif-folder": tiif,
    "unigenbench": unigenbench,
    "dsg": dsg,
    "tifa": tifa,
    "lm-eval": lm_eval,
    "lm-eval-samples": lm_eval_samples,
    "inspect": inspect_log,
    "helm": helm,
}
READER = {"wise-legacy": "wise", "wise-verified": "wise", "oneig-alignment": "oneig", "oneig-text": "oneig",
          "t2i-compbench-folder": "t2i-compbench", "tiif-folder": "tiif"}  # fmt: skip
