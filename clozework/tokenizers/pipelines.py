"""The Rust pipelines behind `WordPieceTokenizer` and `BytePairTokenizer`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import tokenizers
from tokenizers import processors

from clozework.reading_ahead import read_ahead
from clozework.tokenizers.pipeline_words import PipelineWords
from clozework.tokenizers.tokenizer import Encoding

__all__ = ["Pipeline"]

# At the end of each part a core waits for the other one: 1,024 take 5 % longer.
_TEXTS_AT_ONCE = 4096
# With so many cores the library is as fast as Python is with words that it remembers, and leaves
# Python to those who start what a device computes.
_MANY_CORES = 8


class Pipeline:
    """A Rust tokenizer in two versions: with the special tokens in texts recognised, and without.

    They are two because the library keeps the choice in the tokenizer, not in the call: switching
    it back and forth would not be safe with threads.

    Args:
        build: Returns a new Rust tokenizer without added tokens.
        tokens_in_strings: Tokens that count as special where they stand in a text.
        tokens_always_in_strings: Tokens that are never split, even when nobody asked. Those that
            are not special are looked for in what is left between special ones, normalised.
        tokens_taking_space_before: Those of them that take the spaces before them along.
        has_words: Whether texts are split at each space at the latest; see `PipelineWords`.
    """

    def __init__(
        self,
        build: Callable[[], tokenizers.Tokenizer],
        *,
        tokens_in_strings: Iterable[str],
        tokens_always_in_strings: Iterable[str] = (),
        tokens_taking_space_before: Iterable[str] = (),
        has_words: bool = True,
    ):
        self._build = build
        self._recognised = list(dict.fromkeys(tokens_in_strings))
        always = list(dict.fromkeys(tokens_always_in_strings))
        self._always = [token for token in always if token in self._recognised]
        self._ordinary = [token for token in always if token not in self._recognised]
        self._taking_space = frozenset(tokens_taking_space_before)
        self._plain = self._with_added_tokens(self._always)
        # Made when it is first needed: a vocabulary takes its time and memory.
        self._recognising: tokenizers.Tokenizer | None = None
        # A token that is never split may go across a space.
        is_remembered = has_words and not always and _num_cores() < _MANY_CORES
        self._words = PipelineWords(self._plain_ids) if is_remembered else None

    def encode(self, texts: list[str], recognised: bool) -> list[Encoding]:
        """Returns ids and offsets of each text."""
        encodings = self._version(recognised).encode_batch(texts, add_special_tokens=False)
        return [Encoding(encoding.ids, encoding.offsets) for encoding in encodings]

    def encode_ids(
        self, texts: list, recognised: bool, *, is_split: bool = False
    ) -> list[list[int]]:
        """Returns the ids of each text, or of each list of words where `is_split`."""
        if self._words is not None and not (recognised or is_split):
            return self._words.ids(texts)
        return list(self._library_ids(texts, recognised, is_split=is_split))

    def _plain_ids(self, texts: list[str]) -> Iterator[list[int]]:
        return self._library_ids(texts, recognised=False, is_split=False)

    def _library_ids(self, texts: list, recognised: bool, *, is_split: bool) -> Iterator[list[int]]:
        encode = partial(
            self._version(recognised).encode_batch_fast,
            is_pretokenized=is_split,
            add_special_tokens=False,
        )
        parts = (texts[i : i + _TEXTS_AT_ONCE] for i in range(0, len(texts), _TEXTS_AT_ONCE))
        if len(texts) > _TEXTS_AT_ONCE:
            # The library uses all cores, but one while its results become lists.
            return (encoding.ids for part in read_ahead(map(encode, parts)) for encoding in part)
        return (encoding.ids for part in map(encode, parts) for encoding in part)

    def decode(self, rows: list[list[int]]) -> list[str]:
        """Returns the text of each row of ids."""
        return self._plain.decode_batch(rows, skip_special_tokens=False)

    def save(self, path, post_processor: processors.PostProcessor) -> None:
        """Writes the version that recognises special tokens as a `tokenizer.json`."""
        tokenizer = self._with_added_tokens(self._recognised)
        tokenizer.post_processor = post_processor
        tokenizer.save(str(path))

    def _version(self, recognised: bool) -> tokenizers.Tokenizer:
        if not recognised:
            return self._plain
        if self._recognising is None:
            self._recognising = self._with_added_tokens(self._recognised)
        return self._recognising

    def _with_added_tokens(self, tokens: list[str]) -> tokenizers.Tokenizer:
        tokenizer = self._build()
        tokenizer.add_special_tokens(
            [
                # Found in the text as written, not as normalised: "[mask]" is no special token.
                tokenizers.AddedToken(
                    token, special=True, normalized=False, lstrip=token in self._taking_space
                )
                for token in tokens
            ]
        )
        tokenizer.add_tokens(
            [tokenizers.AddedToken(token, normalized=True) for token in self._ordinary]
        )
        return tokenizer


def _num_cores() -> int:
    # Elsewhere nobody says which of them a process may use.
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
