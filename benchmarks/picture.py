"""The README's picture: the same prompts and seeds before and after. ``python -m benchmarks.picture --run DIR``.

Not chosen by hand: the first image of the first distinct prompts of the two categories that were
weakest before, in the suite's order. A green frame is what the held-out judge calls right.
"""

import argparse
import json
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE, FRAME, GAP, CAPTION = 132, 5, 14, 92
RIGHT, WRONG, INK = (46, 160, 67), (207, 34, 46), (36, 41, 47)


def rows(path: Path) -> dict[str, dict]:
    """The first image of each prompt, by filename."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {r["filename"]: r for r in found if r["filename"].endswith("0000.png")}


def weakest(before: dict[str, dict], count: int) -> list[str]:
    """Category names, lowest share of right images first."""
    scores: dict[str, list[bool]] = {}
    for row in before.values():
        scores.setdefault(row["tag"], []).append(bool(row["correct"]))
    return sorted(scores, key=lambda tag: sum(scores[tag]) / len(scores[tag]))[:count]


def tile(folder: Path, row: dict) -> Image.Image:
    """One generated image, enlarged without smoothing, in the frame of its verdict."""
    framed = Image.new("RGB", (SIDE, SIDE), RIGHT if row["correct"] else WRONG)
    inner = SIDE - 2 * FRAME
    if row["image"]:
        with Image.open(folder / row["image"]) as image:
            framed.paste(
                image.convert("RGB").resize((inner, inner), Image.Resampling.NEAREST), (FRAME, FRAME)
            )
    return framed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/before_after.png"))
    parser.add_argument("--prompts", type=int, default=7, help="a category")
    args = parser.parse_args()
    folder = args.run / "eval"
    before, after = rows(folder / "before.jsonl"), rows(folder / "after.jsonl")
    tags = weakest(before, 2)
    left, height = 120, 2 * SIDE + CAPTION + 3 * GAP
    sheet = Image.new("RGB", (left + args.prompts * (SIDE + GAP) + GAP, height * len(tags) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font, bold = ImageFont.load_default(13), ImageFont.load_default(16)
    for line, tag in enumerate(tags):
        top = GAP + line * height
        draw.text((GAP, top), tag.replace("_", " "), INK, bold)
        draw.text((GAP, top + CAPTION + SIDE // 2), "before", INK, bold)
        draw.text((GAP, top + CAPTION + GAP + SIDE + SIDE // 2), "after", INK, bold)
        names = [n for n in sorted(before) if before[n]["tag"] == tag and n in after][: args.prompts]
        for i, name in enumerate(names):
            x = left + i * (SIDE + GAP)
            draw.multiline_text((x, top), textwrap.fill(before[name]["prompt"], 20), INK, font)
            sheet.paste(tile(folder, before[name]), (x, top + CAPTION))
            sheet.paste(tile(folder, after[name]), (x, top + CAPTION + GAP + SIDE))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)
    print(args.out)


if __name__ == "__main__":
    main()
