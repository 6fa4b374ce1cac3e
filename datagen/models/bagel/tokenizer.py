"""Text to ids through ``tokenizers``, with BAGEL's four special tokens looked up by name.

Upstream's folder has Qwen2's files, ``tokenizer.json`` or ``vocab.json`` and ``merges.txt``; special
tokens they lack are added at the end, in upstream's order. A text block is ``<|im_start|> text <|im_end|>``; ``<|vision_start|>`` opens an image.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from datagen.errors import ModelError

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")


class BagelTokenizer:
    """``bos``, ``eos``, ``start_of_image``, ``end_of_image`` and ``pad`` are ids."""

    def __init__(self, tokenizer: Tokenizer, source: str = "tokenizer") -> None:
        self.tokenizer = tokenizer
        found = {token: tokenizer.token_to_id(token) for token in SPECIAL}
        ids = {token: i for token, i in found.items() if i is not None}
        if missing := [token for token in SPECIAL if token not in ids]:
            raise ModelError(f"{source}: special token {missing[0]} is missing; needed: {', '.join(SPECIAL)}")
        self.pad, self.bos, self.eos, self.start_of_image, self.end_of_image = (ids[t] for t in SPECIAL)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def block(self, text: str) -> list[int]:
        return [self.bos, *self.encode(text), self.eos]

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))

    @classmethod
    def load(cls, folder: Path, complete: bool = False) -> "BagelTokenizer":
        """``complete`` adds the special tokens that are missing, as upstream's code does on loading."""
        path = folder / "tokenizer.json"
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        elif complete and (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            from transformers import Qwen2Tokenizer

            tokenizer = Qwen2Tokenizer.from_pretrained(str(folder)).backend_tokenizer
        else:
            raise ModelError(f"{path}: missing; a BAGEL folder needs tokenizer.json")
        if complete:
            tokenizer.add_special_tokens([t for t in SPECIAL if tokenizer.token_to_id(t) is None])
        return cls(tokenizer, str(path))


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> BagelTokenizer:
    """A byte-level BPE over ``texts``: any string encodes, common words are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return BagelTokenizer(tokenizer)
