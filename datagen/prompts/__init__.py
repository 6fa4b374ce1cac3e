"""Weakness and target to prompt: an LLM writes it, a parser reads it back, and only an exact match stays.

``wording`` says a target, ``parser`` reads a prompt, ``asking`` lets the LLM read what no parser can,
``write`` is the loop. What is left out: anything about the picture.
"""

from datagen.prompts.parser import MAX_WORDS, Rejected, check_prompt, parse_prompt, read_prompt
from datagen.prompts.wording import NUMBER_WORDS, RELATION_PHRASES, article, noun_phrase, phrase
from datagen.prompts.write import Guard, PromptResult, distinct_n, write_prompts

__all__ = [
    "MAX_WORDS", "NUMBER_WORDS", "RELATION_PHRASES", "Guard", "PromptResult", "Rejected", "article", "check_prompt",
    "distinct_n", "noun_phrase", "parse_prompt", "phrase", "read_prompt", "write_prompts",
]  # fmt: skip
