"""What every tokenizer has: strings to ids and back, special tokens, assets and a config."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from clozework.errors import ConfigError, InputError, PresetError
from clozework.presets import (
    TOKENIZER_FILES,
    class_property,
    open_stored_model,
    presets_of,
    snake_case,
    staged_directory,
    write_tokenizer,
)
from clozework.tokenizers.texts import as_texts

__all__ = ["Encoding", "Tokenizer"]

_INTEGER_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


class Encoding(NamedTuple):
    """One text as ids, and where each of them stands in it.

    `offsets[i]` is the `(start, end)` of token `i` in characters of the text as it was given,
    before any normalisation: `text[start:end]` covers the token, without the space before it.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer:
    """Turns strings into ids and ids into strings; the base of all tokenizers.

    A family's tokenizer subclasses one of `WordPieceTokenizer`, `BytePairTokenizer` and
    `SentencePieceTokenizer` and is data: `special_tokens_by_role` says which token is the
    `"start"`, the `"end"`, the `"pad"`, the `"mask"`, ..., and each role becomes the attributes
    `start_token` and `start_token_id`, and so on. The four named here exist on every tokenizer, as
    `None` where it has none.

    Args:
        sequence_length: Length to which outputs are padded and cut; `None` leaves them as they are.
        dtype: `"int32"` or another integer type for ids, `"string"` for tokens.
        name: Name that goes into the config; made from the class's name by default.
        trainable: Kept for the config alone: a tokenizer has nothing to train.
        config_file: File of a preset in which this tokenizer is described.
    """

    special_tokens_by_role: ClassVar[Mapping[str, str]] = {}
    # Special tokens that, when they are recognised in a text, take the spaces before them along.
    tokens_taking_space_before: ClassVar[frozenset[str]] = frozenset()
    # Files that `save_assets` writes and `load_assets` reads.
    file_assets: ClassVar[tuple[str, ...]] = ()

    start_token: str | None = None
    start_token_id: int | None = None
    end_token: str | None = None
    end_token_id: int | None = None
    pad_token: str | None = None
    pad_token_id: int | None = None
    mask_token: str | None = None
    mask_token_id: int | None = None

    def __init__(
        self,
        *,
        sequence_length: int | None = None,
        dtype="int32",
        name: str | None = None,
        trainable: bool = True,
        config_file: str = "tokenizer.json",
    ):
        self.sequence_length = sequence_length
        self.dtype = _dtype_name(dtype)
        self.name = name if name is not None else snake_case(type(self).__name__)
        self.trainable = trainable
        self.config_file = config_file
        for role, token in self.special_tokens_by_role.items():
            setattr(self, f"{role}_token", token)
            setattr(self, f"{role}_token_id", None)

    def __call__(self, inputs):
        """Same as `tokenize`."""
        return self.tokenize(inputs)

    def tokenize(self, inputs):
        """Returns the ids of one text or of a batch of texts.

        Args:
            inputs: A string, or a list (tuple, array, column) of strings.

        Returns:
            For a string a NumPy array `(tokens,)`; for a batch a list of lists, or, where
            `sequence_length` is set, an array `(batch, sequence_length)`. With `dtype="string"`
            lists of tokens in their place.

        Raises:
            InputError: An element is not a string, or holds a lone surrogate.
        """
        texts, is_batch = as_texts(inputs)
        rows = self._encode_ids(texts, self._recognises_special_tokens(False))
        return self._shaped(rows, is_batch)

    def detokenize(self, inputs):
        """Returns the text of one sequence of ids, or a list of texts for a batch.

        Args:
            inputs: Ids as a list, an array or a tensor of rank 1 or 2, or a list of lists.

        Raises:
            InputError: An id is not in the vocabulary.
        """
        rows, is_batch = self._id_rows(inputs)
        texts = self._decode(rows)
        return texts if is_batch else texts[0]

    def encode(
        self, texts: Sequence[str], *, special_tokens_in_strings: bool = False
    ) -> list[Encoding]:
        """Returns ids and character offsets of each text, without special tokens around them.

        Args:
            texts: The texts, as a list.
            special_tokens_in_strings: Whether `"[MASK]"` and its like, written in a text, stand for
                the special token; otherwise they are text like any other.
        """
        recognised = self._recognises_special_tokens(special_tokens_in_strings)
        return self._encode(_as_batch(texts), recognised)

    def encode_ids(
        self, texts: Sequence[str], *, special_tokens_in_strings: bool = False
    ) -> list[list[int]]:
        """Returns the ids that `encode` gives; faster, as no offsets are computed."""
        recognised = self._recognises_special_tokens(special_tokens_in_strings)
        return self._encode_ids(_as_batch(texts), recognised)

    def get_vocabulary(self) -> list[str]:
        """Returns all tokens in the order of their ids."""
        raise self._not_implemented("get_vocabulary")

    def vocabulary_size(self) -> int:
        """Returns the number of ids."""
        raise self._not_implemented("vocabulary_size")

    def id_to_token(self, id: int) -> str:  # noqa: A002 (KerasHub's argument name)
        """Returns the token of an id; `InputError` if there is no such id."""
        raise self._not_implemented("id_to_token")

    def token_to_id(self, token: str) -> int:
        """Returns the id of a token."""
        raise self._not_implemented("token_to_id")

    def save_assets(self, dir_path) -> None:
        """Writes the vocabulary into a directory, under the names in `file_assets`."""
        raise self._not_implemented("save_assets")

    def load_assets(self, dir_path) -> None:
        """Replaces the vocabulary by the one that `save_assets` wrote into a directory."""
        raise self._not_implemented("load_assets")

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens, each once, in the order of `special_tokens_by_role`."""
        return list(dict.fromkeys(self.special_tokens_by_role.values()))

    @property
    def special_token_ids(self) -> list[int]:
        """The ids of `special_tokens`."""
        return [self.token_to_id(token) for token in self.special_tokens]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, without the vocabulary: see `save_assets`."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": {
                "module": "keras",
                "class_name": "DTypePolicy",
                "config": {"name": self.dtype},
                "registered_name": None,
            },
            "config_file": self.config_file,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]):
        """Returns a tokenizer with the arguments that `get_config` gave."""
        return cls(**config)

    @class_property
    def presets(cls):  # noqa: N805
        """The built-in presets of the class, by name."""
        return presets_of(cls)

    @classmethod
    def from_preset(cls, preset, **kwargs):
        """Returns the tokenizer that is stored at, or built in as, `preset`.

        Args:
            preset: Built-in name, `kaggle://` or `hf://` handle, or directory.
            **kwargs: Constructor arguments that replace stored ones, such as `sequence_length`.

        Raises:
            PresetError: If it cannot be found or read, or is a tokenizer of another kind.

        Example:
        >>> tokenizer = Tokenizer.from_preset("deberta_v3_tiny_en_demo")
        >>> tokenizer.detokenize(tokenizer("heaven and earth"))
        'heaven and earth'
        """
        tokenizer = open_stored_model(preset, needs_files=True).tokenizer(**kwargs)
        if not isinstance(tokenizer, cls):
            raise PresetError(
                f"{preset!r} holds a {type(tokenizer).__name__}, which is no {cls.__name__}. Use "
                f"{type(tokenizer).__name__}.from_preset."
            )
        return tokenizer

    def save_to_preset(self, preset_dir) -> None:
        """Saves the tokenizer to a directory, whole or not at all."""
        with staged_directory(preset_dir, replaces=TOKENIZER_FILES) as directory:
            write_tokenizer(directory, self)

    def _encode(self, texts: list[str], recognised: bool) -> list[Encoding]:
        """Returns the encoding of checked texts, with special tokens in them recognised or not."""
        raise self._not_implemented("encode")

    def _encode_ids(self, texts: list[str], recognised: bool) -> list[list[int]]:
        raise self._not_implemented("tokenize")

    def _decode(self, rows: list[list[int]]) -> list[str]:
        """Returns the text of each row of ids, all of which are in the vocabulary."""
        raise self._not_implemented("detokenize")

    def _recognises_special_tokens(self, asked: bool) -> bool:
        """Says whether special tokens in texts count, given what the caller asked for."""
        return asked

    def _set_special_token_ids(self) -> None:
        """Looks up the ids of the special tokens; to be called when the vocabulary is set."""
        vocabulary = set(self.get_vocabulary())
        missing = [token for token in self.special_tokens if token not in vocabulary]
        if missing:
            raise ConfigError(
                f"The vocabulary lacks special tokens that {type(self).__name__} needs: "
                f"{', '.join(map(repr, missing))}. Add them to the vocabulary."
            )
        for role, token in self.special_tokens_by_role.items():
            setattr(self, f"{role}_token_id", self.token_to_id(token))

    def _clear_special_token_ids(self) -> None:
        for role in self.special_tokens_by_role:
            setattr(self, f"{role}_token_id", None)

    def _shaped(self, rows: list[list[int]], is_batch: bool):
        if self.dtype == "string":
            tokens = [[self.id_to_token(token_id) for token_id in row] for row in rows]
            if self.sequence_length is not None:
                length = self.sequence_length
                tokens = [row[:length] + [""] * (length - len(row)) for row in tokens]
            return tokens if is_batch else tokens[0]
        if self.sequence_length is not None:
            padded = np.full(
                (len(rows), self.sequence_length), self.pad_token_id or 0, dtype=self.dtype
            )
            for i, row in enumerate(rows):
                padded[i, : len(row)] = row[: self.sequence_length]
            return padded if is_batch else padded[0]
        return rows if is_batch else np.array(rows[0], dtype=self.dtype)

    def _id_rows(self, inputs) -> tuple[list[list[int]], bool]:
        """Returns checked rows of ids, and whether they came as a batch."""
        if isinstance(inputs, (list, tuple)) and inputs and np.ndim(inputs[0]):
            rows = [np.asarray(row) for row in inputs]
            is_batch = True
        else:
            array = np.asarray(inputs)
            is_batch = array.ndim == 2
            rows = list(array) if is_batch else [np.atleast_1d(array)]
        return [self._checked_ids(i, row) for i, row in enumerate(rows)], is_batch

    def _checked_ids(self, index: int, row: np.ndarray) -> list[int]:
        if row.ndim != 1 or (row.size and not np.issubdtype(row.dtype, np.integer)):
            raise InputError(
                f"Sequence {index} has rank {row.ndim} and dtype {row.dtype}, but detokenize() "
                "takes integer ids: one list of them, or a list of lists."
            )
        outside = np.flatnonzero(~self._is_id(row))
        if outside.size:
            position = int(outside[0])
            raise InputError(
                f"Id {row[position]} at position {position} of sequence {index} is not in the "
                f"vocabulary of {self.vocabulary_size()} tokens."
            )
        return row.tolist()

    def _is_id(self, ids: np.ndarray) -> np.ndarray:
        """Says of each integer whether it is an id of the vocabulary."""
        return (ids >= 0) & (ids < self.vocabulary_size())

    def _not_implemented(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not implement {method}().")

    def _no_vocabulary(self, argument: str) -> ConfigError:
        return ConfigError(
            f"{type(self).__name__} has no vocabulary yet. Pass `{argument}` when creating it, or "
            "call load_assets() on a directory that holds one."
        )


def _as_batch(texts) -> list[str]:
    checked, is_batch = as_texts(texts)
    if not is_batch:
        # Its characters would be taken for texts.
        raise InputError(f"Expected a list of texts, got the str {texts!r:.60}. Put it in a list.")
    return checked


def _dtype_name(dtype) -> str:
    """Returns the name in a dtype as given by a user, or as stored in a config by Keras."""
    if isinstance(dtype, Mapping):
        dtype = dtype.get("config", {}).get("name")
    elif not isinstance(dtype, str):
        dtype = np.dtype(dtype).name
    if dtype != "string" and dtype not in _INTEGER_DTYPES:
        raise ConfigError(
            f"A tokenizer gives ids or strings, not dtype {dtype!r}. Use 'int32' (or another "
            "integer type) or 'string'."
        )
    return dtype
