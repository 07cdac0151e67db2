"""WordPiece, BERT's tokenizer: words, and their longest pieces from the left."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from clozework.errors import ConfigError, InputError
from clozework.start_up import collection_paused
from clozework.tokenizers.assets import asset_path, read_text
from clozework.tokenizers.hugging_face_file import read_word_piece_file
from clozework.tokenizers.pipelines import Pipeline
from clozework.tokenizers.texts import as_texts, check_texts
from clozework.tokenizers.tokenizer import Encoding, Tokenizer

__all__ = ["WordPieceTokenizer", "bert_normalizer", "read_token_lines"]

_VOCABULARY_FILE = "vocabulary.txt"
# Longer words are unknown as a whole, as in BERT's own tokenizer.
_LONGEST_WORD = 100


class WordPieceTokenizer(Tokenizer):
    """Splits text into words, and words greedily into the longest pieces in the vocabulary.

    Ids are those of `transformers.BertTokenizer` for the same vocabulary, on every text.

    Args:
        vocabulary: Tokens in the order of their ids as a list, or the path of a file with one a
            line, or a dictionary token -> id.
        sequence_length: See `Tokenizer`.
        lowercase: Whether to lowercase, and, as BERT does then, to drop accents.
        strip_accents: Whether to drop accents without lowercasing as well.
        split: Whether to split at spaces and punctuation; `False` takes words that are split
            already.
        split_on_cjk: Whether each Chinese character is a word.
        suffix_indicator: What pieces inside a word begin with.
        oov_token: Token of words that no pieces make up.
        special_tokens: Further tokens to recognise in texts.
        special_tokens_in_strings: Whether special tokens written in a text count as such in every
            call.
        keep_accents: Whether to keep accents although `lowercase` is set.
        dtype: See `Tokenizer`, as for `name`, `trainable` and `config_file`.

    Example:
    >>> vocabulary = ["[UNK]", "the", "qu", "##ick", "br", "##own", "fox", "."]
    >>> tokenizer = WordPieceTokenizer(vocabulary, lowercase=True)
    >>> tokenizer("The quick brown fox.").tolist()
    [1, 2, 3, 4, 5, 6, 7]
    """

    file_assets = (_VOCABULARY_FILE,)

    def __init__(
        self,
        vocabulary=None,
        sequence_length: int | None = None,
        lowercase: bool = False,
        strip_accents: bool = False,
        split: bool = True,
        split_on_cjk: bool = True,
        suffix_indicator: str = "##",
        oov_token: str = "[UNK]",
        special_tokens: Sequence[str] | None = None,
        special_tokens_in_strings: bool = False,
        dtype="int32",
        *,
        keep_accents: bool = False,
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
        if not isinstance(oov_token, str):
            raise ConfigError(f"oov_token must be a str, got {oov_token!r}.")
        if keep_accents and strip_accents:
            raise ConfigError("keep_accents and strip_accents exclude each other; choose one.")
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.keep_accents = keep_accents
        self.split = split
        self.split_on_cjk = split_on_cjk
        self.suffix_indicator = suffix_indicator
        self.oov_token = oov_token
        self.special_tokens_in_strings = special_tokens_in_strings
        self._further_special_tokens = None if special_tokens is None else list(special_tokens)
        self.set_vocabulary(vocabulary)

    @classmethod
    @collection_paused()
    def from_hugging_face_file(cls, path, **arguments):
        """Returns the tokenizer that a `tokenizer.json` of Hugging Face describes.

        Args:
            path: The file.
            **arguments: Constructor arguments that replace what the file says.
        """
        return cls(**{**read_word_piece_file(path), **arguments})

    @collection_paused()
    def set_vocabulary(self, vocabulary) -> None:
        """Sets the vocabulary; see the constructor for its forms. `None` removes it."""
        if vocabulary is None:
            self.vocabulary = None
            self._pipeline = None
            self._clear_special_token_ids()
            return
        self.vocabulary = _as_token_list(vocabulary)
        self._token_ids = {token: i for i, token in enumerate(self.vocabulary)}
        self._check_needed_tokens()
        self._pipeline = Pipeline(
            self._build,
            tokens_in_strings=self._tokens_in_strings(),
            tokens_taking_space_before=self.tokens_taking_space_before,
            has_words=self.split,
        )
        self._set_special_token_ids()

    def get_vocabulary(self) -> list[str]:
        return list(self._checked_vocabulary())

    def vocabulary_size(self) -> int:
        return len(self._checked_vocabulary())

    def id_to_token(self, id: int) -> str:  # noqa: A002 (KerasHub's argument name)
        vocabulary = self._checked_vocabulary()
        if not 0 <= id < len(vocabulary):
            raise InputError(
                f"Id {id} is not in the vocabulary, which has the ids 0 to {len(vocabulary) - 1}."
            )
        return vocabulary[id]

    def token_to_id(self, token: str) -> int:
        self._checked_vocabulary()
        if token not in self._token_ids:
            raise InputError(f"Token {token!r} is not in the vocabulary.")
        return self._token_ids[token]

    def tokenize(self, inputs):
        """See `Tokenizer.tokenize`. With `split=False` each text is one list of words."""
        if self.split:
            return super().tokenize(inputs)
        words, is_batch = _as_words(inputs)
        rows = self._checked_pipeline().encode_ids(words, recognised=False, is_split=True)
        return self._shaped(rows, is_batch)

    def save_assets(self, dir_path) -> None:
        path = asset_path(dir_path, _VOCABULARY_FILE)
        lines = "".join(f"{token}\n" for token in self._checked_vocabulary())
        path.write_text(lines, encoding="utf-8", newline="\n")

    def load_assets(self, dir_path) -> None:
        self.set_vocabulary(asset_path(dir_path, _VOCABULARY_FILE))

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "vocabulary": None,
            "sequence_length": self.sequence_length,
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "split": self.split,
            "suffix_indicator": self.suffix_indicator,
            "oov_token": self.oov_token,
            "special_tokens": self._further_special_tokens,
            "special_tokens_in_strings": self.special_tokens_in_strings,
        }
        # KerasHub stores neither, so they are written only where they say something.
        if not self.split_on_cjk:
            config["split_on_cjk"] = False
        if self.keep_accents:
            config["keep_accents"] = True
        return config

    def _encode(self, texts: list[str], recognised: bool) -> list[Encoding]:
        return self._checked_pipeline().encode(texts, recognised)

    def _encode_ids(self, texts: list[str], recognised: bool) -> list[list[int]]:
        return self._checked_pipeline().encode_ids(texts, recognised)

    def _decode(self, rows: list[list[int]]) -> list[str]:
        vocabulary = self._checked_vocabulary()
        return [self._joined([vocabulary[i] for i in row]) for row in rows]

    def _joined(self, tokens: list[str]) -> str:
        suffix = self.suffix_indicator
        words: list[str] = []
        for token in tokens:
            if words and len(token) > len(suffix) and token.startswith(suffix):
                words[-1] += token[len(suffix) :]
            else:
                words.append(token)
        return " ".join(words)

    def _recognises_special_tokens(self, asked: bool) -> bool:
        return asked or self.special_tokens_in_strings

    def _tokens_in_strings(self) -> list[str]:
        """All tokens that upstream recognises in a text; the unknown token is one of them."""
        return [*self.special_tokens, *(self._further_special_tokens or ()), self.oov_token]

    def _check_needed_tokens(self) -> None:
        needed = [self.oov_token, *(self._further_special_tokens or ())]
        missing = [token for token in needed if token not in self._token_ids]
        if missing:
            raise ConfigError(
                f"The vocabulary of {type(self).__name__} lacks {', '.join(map(repr, missing))}, "
                "named by oov_token or special_tokens. Add them to the vocabulary, or pass other "
                "names."
            )

    def _build(self) -> tokenizers.Tokenizer:
        model = models.WordPiece(
            self._token_ids,
            unk_token=self.oov_token,
            continuing_subword_prefix=self.suffix_indicator,
            max_input_chars_per_word=_LONGEST_WORD,
        )
        # The stubs of the package leave out the argument.
        pipeline = tokenizers.Tokenizer(model)  # pyright: ignore[reportCallIssue]
        pipeline.normalizer = bert_normalizer(
            lowercase=self.lowercase,
            strip_accents=self.strip_accents or (self.lowercase and not self.keep_accents),
            split=self.split,
            split_on_cjk=self.split_on_cjk,
        )
        if self.split:
            pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return pipeline

    def _checked_vocabulary(self) -> list[str]:
        if self.vocabulary is None:
            raise self._no_vocabulary("vocabulary")
        return self.vocabulary

    def _checked_pipeline(self) -> Pipeline:
        if self._pipeline is None:
            raise self._no_vocabulary("vocabulary")
        return self._pipeline


def bert_normalizer(*, lowercase: bool, strip_accents: bool, split: bool, split_on_cjk: bool):
    """Returns BERT's normaliser; without `split` it leaves spaces and control characters alone."""
    return normalizers.BertNormalizer(
        clean_text=split,
        handle_chinese_chars=split and split_on_cjk,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )


def read_token_lines(path: str | os.PathLike) -> list[str]:
    """Returns the lines of a vocabulary file.

    Only the line break ends a token, as upstream reads it: a token may end with a space of some
    kind.
    """
    return read_text(path, "vocabulary").removesuffix("\n").split("\n")


def _as_token_list(vocabulary) -> list[str]:
    if isinstance(vocabulary, (str, os.PathLike)):
        return read_token_lines(vocabulary)
    if isinstance(vocabulary, Mapping):
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
            raise ConfigError(
                "The ids of a WordPiece vocabulary must be 0, 1, 2, ... without a gap and each "
                f"once; got {len(tokens)} tokens with ids up to "
                f"{max(vocabulary.values(), default=None)}."
            )
        return tokens
    if not isinstance(vocabulary, Iterable):
        raise ConfigError(
            "vocabulary must be a list of tokens, a dict token -> id or the path of a file with a "
            f"token a line, got {type(vocabulary).__name__}."
        )
    tokens = list(vocabulary)
    wrong = [token for token in tokens if not isinstance(token, str)]
    if wrong:
        raise ConfigError(f"Every token of a vocabulary must be a str, got {wrong[0]!r}.")
    return tokens


def _as_words(inputs) -> tuple[list[list[str]], bool]:
    """Returns words that are split already: one text's, or a batch's as a list for each text."""
    if isinstance(inputs, np.ndarray):
        inputs = inputs.tolist()
    if isinstance(inputs, (list, tuple)) and inputs and isinstance(inputs[0], (list, tuple)):
        return [check_texts(list(words)) for words in inputs], True
    return [as_texts(inputs)[0]], False
