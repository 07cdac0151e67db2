"""Byte-level byte-pair encoding, the tokenizer of GPT-2, RoBERTa and BART."""

import itertools
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from clozework.errors import ConfigError, InputError, PresetError
from clozework.start_up import collection_paused
from clozework.tokenizers.assets import asset_path, read_text
from clozework.tokenizers.hugging_face_file import read_byte_pair_file
from clozework.tokenizers.pipelines import Pipeline
from clozework.tokenizers.tokenizer import Encoding, Tokenizer

__all__ = ["BytePairTokenizer"]

_VOCABULARY_FILE = "vocabulary.json"
_MERGES_FILE = "merges.txt"
_ARGUMENTS = "vocabulary` and `merges"


class BytePairTokenizer(Tokenizer):
    """Splits text into words with the space before them, and merges their bytes in a learned order.

    Ids are those of `transformers.RobertaTokenizer` (and GPT-2's) for the same files, on every
    text.

    Args:
        vocabulary: Token -> id as a dictionary, or the path of a JSON file with that.
        merges: Merge rules in order, as `"a b"`, or the path of a file with one a line.
        sequence_length: See `Tokenizer`.
        add_prefix_space: Whether the first word is treated as if a space stood before it.
        unsplittable_tokens: Tokens that are never split where they stand in a text. By default, and
            where the list is that of the special tokens, these are recognised only when asked for.
        dtype: See `Tokenizer`, as for `name`, `trainable` and `config_file`.

    A merge rule may name tokens that are not in the vocabulary: they take part in the merging, and
    what is left of them has no id and is dropped, as bytes without an id are.

    Example:
    >>> vocabulary = {"b": 0, "u": 1, "t": 2, "bu": 3, "tt": 4, "but": 5, "butt": 6}
    >>> tokenizer = BytePairTokenizer(vocabulary, ["b u", "t t", "bu tt", "bu t"])
    >>> tokenizer(["but", "butt"])
    [[5], [6]]
    """

    file_assets = (_VOCABULARY_FILE, _MERGES_FILE)
    # Recognised in texts, where the vocabulary has them, together with the special tokens.
    further_special_tokens: ClassVar[tuple[str, ...]] = ("<unk>",)
    # What is done to a text first: `"NFC"`, or nothing.
    unicode_form: ClassVar[str | None] = None
    # End tokens between the texts of a pair.
    num_separators: ClassVar[int] = 1

    def __init__(
        self,
        vocabulary=None,
        merges=None,
        sequence_length: int | None = None,
        add_prefix_space: bool = False,
        unsplittable_tokens: Sequence[str] | None = None,
        dtype="int32",
        *,
        name: str | None = None,
        trainable: bool = True,
        config_file: str = "tokenizer.json",
    ):
        super().__init__(
            sequence_length=sequence_length,
            dtype=dtype,
            name=name,
            trainable=trainable,
            config_file=config_file,
        )
        self.add_prefix_space = add_prefix_space
        if unsplittable_tokens is None:
            unsplittable_tokens = self.special_tokens
        self.unsplittable_tokens = list(unsplittable_tokens)
        self.set_vocabulary_and_merges(vocabulary, merges)

    @classmethod
    @collection_paused()
    def from_hugging_face_file(cls, path, **arguments):
        """Returns the tokenizer that a `tokenizer.json` of Hugging Face describes.

        Args:
            path: The file.
            **arguments: Constructor arguments that replace what the file says.
        """
        known = {*cls.special_tokens_by_role.values(), *cls.further_special_tokens}
        stored = read_byte_pair_file(path, unicode_form=cls.unicode_form, special_tokens=known)
        return cls(**{**stored, **arguments})

    def to_hugging_face_file(self, path) -> None:
        """Writes a `tokenizer.json` that gives our ids, with start and end around texts and pairs.

        Raises:
            PresetError: If merge rules name tokens that the vocabulary has not.
        """
        pipeline = self._checked_pipeline()
        if self._intermediate_tokens:
            names = ", ".join(map(repr, [*self._intermediate_tokens][:3]))
            raise PresetError(
                f"Merge rules name tokens that the vocabulary has not: {names}. Add them to it, or "
                "leave the rules out."
            )
        start, end = (self.special_tokens_by_role[role] for role in ("start", "end"))
        between = " ".join([f"{end}:0"] * self.num_separators)
        template = processors.TemplateProcessing(
            single=f"{start}:0 $A:0 {end}:0",
            pair=f"{start}:0 $A:0 {between} $B:1 {end}:1",
            special_tokens=[(token, self.token_to_id(token)) for token in (start, end)],
        )
        pipeline.save(path, template)

    @collection_paused()
    def set_vocabulary_and_merges(self, vocabulary, merges) -> None:
        """Sets vocabulary and merge rules, in the constructor's forms. `None` removes them."""
        if (vocabulary is None) != (merges is None):
            given, missing = ("merges", "vocabulary")
            if merges is None:
                given, missing = missing, given
            raise ConfigError(f"Got {given} without {missing}; pass both or neither.")
        if vocabulary is None:
            self.vocabulary = None
            self._merges = []
            self._pipeline = None
            self._clear_special_token_ids()
            return
        self.vocabulary = _as_vocabulary(vocabulary)
        self._merges = _as_pairs(merges)
        self._tokens = dict(zip(self.vocabulary.values(), self.vocabulary, strict=True))
        self._check_unsplittable_tokens()
        self._usable_merges = _usable_merges(self._merges, self.vocabulary)
        self._intermediate_tokens = _intermediate_tokens(self._usable_merges, self.vocabulary)
        self._pipeline = Pipeline(
            self._build,
            tokens_in_strings=self._tokens_in_strings(),
            tokens_always_in_strings=self._tokens_always_in_strings(),
            tokens_taking_space_before=self.tokens_taking_space_before,
        )
        self._set_special_token_ids()

    @property
    def merges(self) -> list[str]:
        """The merge rules in order, as `"a b"`."""
        return [" ".join(pair) for pair in self._merges]

    def get_vocabulary(self) -> list[str]:
        vocabulary = self._checked_vocabulary()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def vocabulary_size(self) -> int:
        return len(self._checked_vocabulary())

    def id_to_token(self, id: int) -> str:  # noqa: A002 (KerasHub's argument name)
        self._checked_vocabulary()
        if id not in self._tokens:
            raise InputError(
                f"Id {id} is not in the vocabulary, whose ids go from {min(self._tokens)} to "
                f"{max(self._tokens)}."
            )
        return self._tokens[id]

    def token_to_id(self, token: str) -> int:
        vocabulary = self._checked_vocabulary()
        if token not in vocabulary:
            raise InputError(
                f"Token {token!r} is not in the vocabulary. (A space is written 'Ġ' there.)"
            )
        return vocabulary[token]

    def save_assets(self, dir_path) -> None:
        vocabulary = json.dumps(self._checked_vocabulary())
        asset_path(dir_path, _VOCABULARY_FILE).write_text(
            vocabulary, encoding="utf-8", newline="\n"
        )
        merges = "".join(f"{merge}\n" for merge in self.merges)
        asset_path(dir_path, _MERGES_FILE).write_text(merges, encoding="utf-8", newline="\n")

    def load_assets(self, dir_path) -> None:
        self.set_vocabulary_and_merges(
            asset_path(dir_path, _VOCABULARY_FILE), asset_path(dir_path, _MERGES_FILE)
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "add_prefix_space": self.add_prefix_space,
            "unsplittable_tokens": list(self.unsplittable_tokens),
        }

    def _encode(self, texts: list[str], recognised: bool) -> list[Encoding]:
        encodings = self._checked_pipeline().encode(texts, recognised)
        if self.unicode_form == "NFC":
            encodings = [
                Encoding(encoding.ids, _over_composed(text, encoding.offsets))
                for text, encoding in zip(texts, encodings, strict=True)
            ]
        if not self._intermediate_tokens:
            return encodings
        return [self._without_intermediate_tokens(encoding) for encoding in encodings]

    def _encode_ids(self, texts: list[str], recognised: bool) -> list[list[int]]:
        rows = self._checked_pipeline().encode_ids(texts, recognised)
        if not self._intermediate_tokens:
            return rows
        return [[i for i in row if i in self._tokens] for row in rows]

    def _without_intermediate_tokens(self, encoding: Encoding) -> Encoding:
        kept = [pair for pair in zip(*encoding, strict=True) if pair[0] in self._tokens]
        return Encoding([token_id for token_id, _ in kept], [offset for _, offset in kept])

    def _decode(self, rows: list[list[int]]) -> list[str]:
        return self._checked_pipeline().decode(rows)

    def _is_id(self, ids: np.ndarray) -> np.ndarray:
        self._checked_vocabulary()
        return np.array([i in self._tokens for i in ids.tolist()], dtype=bool)

    def _tokens_in_strings(self) -> list[str]:
        tokens = self.special_tokens
        if tokens:
            known = self._checked_vocabulary()
            tokens += [token for token in self.further_special_tokens if token in known]
        return tokens

    def _tokens_always_in_strings(self) -> list[str]:
        # KerasHub stores its default, the special tokens, as if it were a choice.
        if set(self.unsplittable_tokens) == set(self.special_tokens):
            return []
        return self.unsplittable_tokens

    def _check_unsplittable_tokens(self) -> None:
        vocabulary, special = self._checked_vocabulary(), self.special_tokens
        missing = [
            token
            for token in self.unsplittable_tokens
            if token not in vocabulary and token not in special
        ]
        if missing:
            raise ConfigError(
                f"The vocabulary lacks the unsplittable tokens {', '.join(map(repr, missing))}. "
                "Add them to the vocabulary, or leave them out of unsplittable_tokens."
            )

    def _build(self) -> tokenizers.Tokenizer:
        vocabulary = {**self._checked_vocabulary(), **self._intermediate_tokens}
        model = models.BPE(vocabulary, self._usable_merges)
        # The stubs of the package leave out the argument.
        pipeline = tokenizers.Tokenizer(model)  # pyright: ignore[reportCallIssue]
        if self.unicode_form == "NFC":
            pipeline.normalizer = normalizers.NFC()
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.add_prefix_space)
        # Adds nothing; takes the space before a word out of the offsets.
        pipeline.post_processor = processors.ByteLevel(trim_offsets=True)
        pipeline.decoder = decoders.ByteLevel()
        return pipeline

    def _checked_vocabulary(self) -> dict[str, int]:
        if self.vocabulary is None:
            raise self._no_vocabulary(_ARGUMENTS)
        return self.vocabulary

    def _checked_pipeline(self) -> Pipeline:
        if self._pipeline is None:
            raise self._no_vocabulary(_ARGUMENTS)
        return self._pipeline


def _over_composed(text: str, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns offsets that end behind the marks of their last character.

    The library's end behind the first of several characters that NFC composes to one.
    """
    if text.isascii():
        return offsets
    starts = {start for start, _ in offsets}
    behind = {}
    for end in {end for start, end in offsets if start < end}:
        behind[end] = end
        while behind[end] < len(text) and behind[end] not in starts:
            if len(unicodedata.normalize("NFC", text[end - 1 : behind[end] + 1])) > 1:
                break
            behind[end] += 1
    return [(start, behind.get(end, end)) for start, end in offsets]


def _as_vocabulary(vocabulary) -> dict[str, int]:
    if isinstance(vocabulary, (str, os.PathLike)):
        try:
            vocabulary = json.loads(read_text(vocabulary, "vocabulary"))
        except json.JSONDecodeError as error:
            raise PresetError(f"'{vocabulary}' is not a JSON file: {error}.") from error
    if not isinstance(vocabulary, Mapping):
        raise ConfigError(
            "vocabulary must be a dict token -> id or the path of a JSON file with one, got "
            f"{type(vocabulary).__name__}."
        )
    vocabulary = dict(vocabulary)
    tokens, ids = vocabulary.keys(), vocabulary.values()
    # A function called for each of 50,000 entries would take as long as to read their file.
    if {*map(type, tokens)} - {str} or {*map(type, ids)} - {int} or min(ids, default=0) < 0:
        wrong = [item for item in vocabulary.items() if not _is_entry(*item)]
        if wrong:
            raise ConfigError(f"A vocabulary maps str to int of at least 0, got {wrong[0]!r}.")
    if len(set(ids)) != len(vocabulary):
        raise ConfigError(
            "A vocabulary must give each token an id of its own; some ids occur twice."
        )
    return vocabulary


def _is_entry(token, token_id) -> bool:
    return isinstance(token, str) and isinstance(token_id, int) and token_id >= 0


def _as_pairs(merges) -> list[tuple[str, str]]:
    if isinstance(merges, (str, os.PathLike)):
        merges = [line.rstrip() for line in read_text(merges, "list of merge rules").split("\n")]
    elif not isinstance(merges, Iterable):
        raise ConfigError(
            "merges must be a list of rules like 'a b' or the path of a file with one a line, got "
            f"{type(merges).__name__}."
        )
    # A rule may also come as a pair, as in tokenizer.json.
    pairs = [
        tuple(rule.split(" ") if isinstance(rule, str) else rule)
        for rule in merges
        if rule and not (isinstance(rule, str) and rule.startswith("#version"))
    ]
    if {*map(len, pairs)} - {2} or " " in "".join(itertools.chain.from_iterable(pairs)):
        wrong = " ".join(next(pair for pair in pairs if len(pair) != 2 or " " in "".join(pair)))
        raise ConfigError(f"A merge rule is two tokens with one space between, got {wrong!r}.")
    return pairs  # pyright: ignore[reportReturnType] (of two each)


def _usable_merges(
    pairs: list[tuple[str, str]], vocabulary: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Returns the rules that lead to a token of the vocabulary, by themselves or through others."""
    # Nearly always: going through all rules twice takes longer than to look each result up.
    if all(map(vocabulary.__contains__, map("".join, pairs))):
        return pairs
    reachable = set(vocabulary)
    while True:
        known = len(reachable)
        for left, right in reversed(pairs):
            if left + right in reachable:
                reachable.update((left, right))
        if len(reachable) == known:
            return [pair for pair in pairs if "".join(pair) in reachable]


def _intermediate_tokens(merges, vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Returns ids beyond the vocabulary for tokens that only rules name.

    The Rust library refuses a rule of such tokens; the original GPT-2 code applies it.
    """
    parts = itertools.chain.from_iterable(merges)
    unknown = dict.fromkeys(itertools.filterfalse(vocabulary.__contains__, parts))
    first = max(vocabulary.values(), default=-1) + 1
    return {part: first + i for i, part in enumerate(unknown)}
