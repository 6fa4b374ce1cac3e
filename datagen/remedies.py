"""Which recipe answers which weakness: one table, read from the top, first match wins.

A pattern is looked for in ``benchmark/category/facet=value`` (lower case), without the benchmark where it is
not one of those that patterns name: that of a mapped file is the file's name. A recipe that this
installation does not have is named as a suggestion, never as a recipe that could be built.
"""

import re
from collections.abc import Collection

REMEDIES: tuple[tuple[str, str], ...] = (
    # (pattern, recipe)
    (r"text rendering|text generation|other - text|^oneig/text|\btext\b|lettering|(?<![a-z])ocr(?![a-z])", "text_rendering"),
    (r"negation", "negation"),
    (r"(?<![a-z])(count(s|ing|ed)?|numbers?)(?![a-z])|numeracy|quantity", "counting"),
    (r"orientation|upside", "orientation"),
    (r"(?<![a-z])structure|deform|(?<![a-z])parts?(?![a-z])|composition$|hand \(", "structure"),
    (r"color_attr|^t2i-compbench/color|attribute binding|color attribution|feature matching|color\+|consistency$", "color_attribution"),
    (r"^geneval/colors|color", "colors"),
    (r"position|spatial|relation - spatial|layout|2d_|3d_|two-dimensional|three-dimensional", "position"),
    (r"two_object|two object|co-occurrence", "two_objects"),
    (r"single_object|^geneval2/object", "single_object"),
    (r"^wise|world knowledge|knowledge|reasoning|logical|science|culture", "world_knowledge"),
    (r"\bstyle|styliz|anime", "style"),
    (r"^dpg-bench|^geneval2/atoms|complex|^oneig/alignment|entity|attribute|relation|global|shape|texture|size",
     "dense"),
)  # fmt: skip
# Those that patterns name.
BENCHMARKS = ("geneval", "geneval2", "dpg-bench", "wise", "wise-verified", "oneig", "t2i-compbench")


def remedy(place: str, known: Collection[str], benchmark: str = "") -> tuple[str | None, str | None]:
    """``(recipe, suggestion)``: the recipe that targets ``place``, or the one to be written."""
    if benchmark not in BENCHMARKS:
        place = place.removeprefix(f"{benchmark}/")
    for pattern, recipe in REMEDIES:
        if re.search(pattern, place.lower()):
            return (recipe, None) if recipe in known else (None, recipe)
    return None, None
