"""Prompts a second, and how many are accepted, of each prompt writer: ``python -m benchmarks.llms``.

``--llm NAME`` is repeatable; the disk cache is off. ``--export DIR`` first saves the embedded SmolLM2 as a
folder that vLLM can serve, so that one model is timed three ways: embedded and constrained, behind
``vllm serve`` (``openai:smollm2@http://HOST:8000/v1``) and in vLLM in process (``vllm:DIR``, in an
environment that holds vLLM). Without the guard against near-duplicates and overlaps: that is
``benchmarks.prompts``.

Last printed, two CPU cores, 40 prompts a recipe (vLLM: 4 of 71 and of 45 attempts), prompts/s and share accepted:

    llm                    counting    position    color_attribution  two_objects
    template               2813  100%  2642  100%  2593  100%         2958  100%
    smollm2, constrained   4.3    80%  3.6    74%  4.2    89%         3.1    69%
    vllm, same model       0.0     6%  0.1     9%

So a schema alone does not make a model of 135 M parameters keep a target; forcing the phrase does.
"""

import argparse
import os
import time
from pathlib import Path

from datagen.llm import load_llm, release_llms
from datagen.llm.cache import VARIABLE
from datagen.prompts import write_prompts
from datagen.recipe import load_recipe
from datagen.targets import VOCABULARIES

RECIPES = ("counting", "position", "color_attribution", "two_objects")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llm", action="append", default=None)
    parser.add_argument("--recipe", action="append", default=None)
    parser.add_argument("--vocabulary", default="scenes", choices=VOCABULARIES)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--export", type=Path)
    args = parser.parse_args()
    os.environ[VARIABLE] = "off"
    if args.export:
        from datagen.llm.smollm import export

        export(args.export)
    print(f"{'llm':<12} {'recipe':<18} prompts/s accepted attempts wordings  refused")
    for name in args.llm or ["template", "smollm2"]:
        writer = load_llm(name)
        for title in args.recipe or RECIPES:
            recipe = load_recipe(title).for_vocabulary(args.vocabulary)
            began = time.monotonic()
            r = write_prompts(recipe, VOCABULARIES[args.vocabulary], writer, args.prompts, 0)
            seconds = time.monotonic() - began
            causes = ", ".join(f"{cause} {n}" for cause, n in sorted(r.rejected.items(), key=lambda x: -x[1]))
            print(
                f"{name.partition(':')[0]:<12} {title:<18} {len(r.samples) / seconds:>9.1f} {r.acceptance:>8.0%} "
                f"{r.attempts:>8} {r.wordings:>8}  {causes}",
                flush=True,
            )
        release_llms()


if __name__ == "__main__":
    main()
