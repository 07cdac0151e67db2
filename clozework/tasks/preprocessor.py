"""The abstract preprocessor: strings -> the arrays that a model takes."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.errors import ClozeworkWarning, ConfigError, InputError
from clozework.layers import MultiSegmentPacker
from clozework.presets import class_property, presets_of, snake_case
from clozework.tasks.arguments import argument_defaults, unknown_arguments
from clozework.tasks.loading import load_preprocessor
from clozework.tasks.saving import save_preprocessor
from clozework.tasks.text_inputs import text_examples

__all__ = ["Preprocessor", "checked_length", "with_targets"]


class Preprocessor:
    """Base class of the objects that turn strings into inputs of a model.

    Called with a string it returns arrays for one text, with a list arrays for a batch. Several
    segments of one example are a tuple: `("a text", "another")`, `(first_texts, second_texts)`
    for a batch, or a list of such tuples.

    Args:
        tokenizer: The family's tokenizer.
        sequence_length: Number of tokens of every row, special ones included.
        truncate: How segments that are too long are cut: `"round_robin"` token by token in turn,
            `"waterfall"` the last ones first.

    Attributes:
        backbone_cls, tokenizer_cls: The family's classes.
    """

    backbone_cls: ClassVar[type]
    tokenizer_cls: ClassVar[type]
    config_file = "preprocessor.json"
    # The arguments that say how long rows are.
    length_names: ClassVar[tuple[str, ...]] = ("sequence_length",)
    # Names of the texts of an example, where examples are dicts.
    text_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        tokenizer,
        sequence_length=512,
        truncate="round_robin",
        name=None,
        dtype=None,
        trainable=True,
    ):
        if not isinstance(tokenizer, self.tokenizer_cls):
            raise ConfigError(
                f"{type(self).__name__} needs a {self.tokenizer_cls.__name__}. "
                f"Received: {tokenizer!r:.80}."
            )
        if truncate not in ("round_robin", "waterfall"):
            raise ConfigError(
                f"`truncate` must be 'round_robin' or 'waterfall'. Received: {truncate!r}."
            )
        self.tokenizer = tokenizer
        self.truncate = truncate
        self.sequence_length = sequence_length
        self.name = name or snake_case(type(self).__name__)
        self.dtype = dtype
        self.trainable = trainable
        self._has_warned = False

    def __new__(cls, *args, **kwargs):
        known = _arguments(cls)
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            raise unknown_arguments(cls, unknown, list(dict.fromkeys(known)))
        return super().__new__(cls)

    @class_property
    def presets(cls):  # noqa: N805
        """The built-in presets of the class, by name."""
        return presets_of(cls)

    @classmethod
    def from_preset(cls, preset, **kwargs):
        """Returns the preprocessor that is stored with `preset`; see `Backbone.from_preset`.

        Args:
            preset: Built-in name, handle or directory.
            **kwargs: Constructor arguments that replace stored ones, such as `sequence_length`.

        Example:
        >>> preprocessor = Preprocessor.from_preset("deberta_v3_tiny_en_demo", sequence_length=8)
        >>> inputs, labels, weights = preprocessor(["In the beginning"])
        >>> inputs["token_ids"].shape
        (1, 8)
        """
        return load_preprocessor(cls, preset, kwargs)

    def save_to_preset(self, preset_dir):
        """Saves the preprocessor and its tokenizer to a directory."""
        save_preprocessor(self, preset_dir)

    @property
    def sequence_length(self) -> int:
        """Number of tokens of every row, special ones included."""
        return self._sequence_length

    @sequence_length.setter
    def sequence_length(self, value: int):
        self._sequence_length = checked_length("sequence_length", value)

    def __call__(self, x, y=None, sample_weight=None, sequence_length=None):
        """Returns `x` as arrays, with `y` and `sample_weight` where they are given."""
        examples, is_batched = text_examples(x)
        batch = self._joined(self._segments(examples), sequence_length)
        if not is_batched:
            batch = {name: values[0] for name, values in batch.items()}
        return with_targets(batch, y, sample_weight)

    def encode(
        self, examples: Sequence[Any], *, special_tokens_in_strings: bool = False
    ) -> list[tuple[list[int], ...]]:
        """Returns the token ids of each segment of each example: one list a segment.

        Raises:
            InputError: If examples have different numbers of segments.
        """
        segments = self._segments(examples, special_tokens_in_strings=special_tokens_in_strings)
        return list(zip(*segments, strict=True))

    def pack(
        self, examples: Sequence[tuple[list[int], ...]], sequence_length: int | None = None
    ) -> dict[str, np.ndarray]:
        """Joins the segments of each example to one row with the model's special tokens."""
        segments = tuple(list(segment) for segment in zip(*examples, strict=True)) or ([],)
        return self._joined(segments, sequence_length)

    def num_tokens(self, examples: Sequence[Any]) -> np.ndarray:
        """Returns the number of tokens of each example, special ones included, `(batch,)`."""
        needed = self._num_needed(self._segments(examples))
        return np.minimum(needed, self.sequence_length)

    def _segments(
        self, examples: Sequence[Any], *, special_tokens_in_strings: bool = False
    ) -> tuple[list[list[int]], ...]:
        """Returns the ids of all first segments, of all second ones, and so on."""
        num_segments = {1 if isinstance(e, str) else len(e) for e in examples} or {1}
        if len(num_segments) > 1:
            raise InputError(
                f"All texts of a batch must have the same number of segments. Received examples "
                f"with {' and '.join(map(str, sorted(num_segments)))} segments."
            )
        texts: list[str] = []
        for example in examples:
            texts += (example,) if isinstance(example, str) else example
        ids = self.tokenizer.encode_ids(texts, special_tokens_in_strings=special_tokens_in_strings)
        step = num_segments.pop()
        # No tuple for each text: Python's collector would look at everything, again and again.
        return tuple(ids[i::step] for i in range(step))

    def _joined(
        self, segments: tuple[list[list[int]], ...], sequence_length: int | None
    ) -> dict[str, np.ndarray]:
        length = self.sequence_length if sequence_length is None else sequence_length
        tokenizer = self.tokenizer
        needed = self._num_needed(segments)
        packer = MultiSegmentPacker(
            sequence_length=length,
            start_value=tokenizer.start_token_id,
            end_value=tokenizer.end_token_id,
            sep_value=[tokenizer.end_token_id] * tokenizer.num_separators,
            pad_value=tokenizer.pad_token_id,
            truncate=self.truncate,
        )
        token_ids, segment_ids = packer(segments)
        self._warn_if_cut(needed, length)
        mask = np.arange(length) < np.minimum(needed, length)[:, None]
        arrays = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask}
        if "decoder_token_ids" in self.backbone_cls.input_names:
            arrays = _for_both_halves(arrays, tokenizer.end_token_id)
        arrays.update(dict.fromkeys(self.own_inputs(), mask))
        names = (*self.backbone_cls.input_names, *self.own_inputs())
        return {name: arrays[name] for name in names}

    def _num_needed(self, segments: tuple[list[list[int]], ...]) -> np.ndarray:
        """Returns how many tokens each example has with the special ones, however long a row is."""
        num_specials = 2 + self.tokenizer.num_separators * (len(segments) - 1)
        lengths = (np.fromiter(map(len, rows), "int64", len(rows)) for rows in segments)
        return np.add.reduce([*lengths]) + num_specials

    @classmethod
    def own_inputs(cls) -> tuple[str, ...]:
        """Names of masks of tokens that the task takes beside the backbone's inputs."""
        return ()

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "tokenizer": self.tokenizer,
            "config_file": self.config_file,
            "sequence_length": self.sequence_length,
            "truncate": self.truncate,
        }

    @classmethod
    def from_config(cls, config):
        """Returns a preprocessor with the arguments that `get_config` gave."""
        config = {key: value for key, value in config.items() if key != "config_file"}
        tokenizer = config["tokenizer"]
        if isinstance(tokenizer, Mapping):
            config["tokenizer"] = keras.saving.deserialize_keras_object(tokenizer)
        return cls(**config)

    def _warn_if_cut(self, needed: np.ndarray, length: int) -> None:
        num_cut = int((needed > length).sum())
        if num_cut and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{num_cut} of {len(needed)} texts have more than {length} tokens (the longest "
                f"{needed.max()}) and are cut at `sequence_length`. This is said once.",
                ClozeworkWarning,
                stacklevel=4,
            )


def _arguments(cls: type) -> list[str]:
    """Returns the names of the arguments of a class, those that it hands on to others included."""
    names: list[str] = []
    for base in cls.__mro__[:-1]:
        names += argument_defaults(base)
        parameters = inspect.signature(base.__init__).parameters.values()
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return names


def _for_both_halves(arrays: Mapping[str, np.ndarray], end_token_id: int) -> dict[str, np.ndarray]:
    """Returns one row for the encoder and the decoder, which reads it one token behind."""
    token_ids, padding_mask = arrays["token_ids"], arrays["padding_mask"]
    behind = np.roll(token_ids, 1, axis=1)
    behind[:, 0] = end_token_id
    return {
        "encoder_token_ids": token_ids,
        "encoder_padding_mask": padding_mask,
        "decoder_token_ids": behind,
        "decoder_padding_mask": padding_mask,
    }


def checked_length(name: str, value) -> int:
    """Returns the length of rows that an argument gives; raises `ConfigError` for any other."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"`{name}` must be a positive integer. Received: {value!r}.")
    return value


def with_targets(x, y, sample_weight):
    """Returns x alone, `(x, y)` or `(x, y, sample_weight)`, as Keras takes them."""
    if y is None and sample_weight is None:
        return x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
