"""What changes the scores of the next token before a sampler chooses it.

Each record is called with logits `(batch, vocabulary)` in float32 and a `GenerationStep`, and
returns logits. Beam search calls them with log probabilities. Any function of this form will do.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import ops

from clozework.errors import ConfigError

__all__ = [
    "ForcedFirstToken",
    "ForcedLastToken",
    "GenerationStep",
    "LogitsProcessing",
    "MinLength",
    "MinNewTokens",
    "NoRepeatNgrams",
    "RepetitionPenalty",
    "is_any_of",
    "processed",
]


@dataclass(frozen=True)
class GenerationStep:
    """What is known when the next token of each row is chosen.

    Attributes:
        token_ids: int32 `(batch, tokens)`; those before `index` are there.
        index: Place of the next token, an int32 scalar; `(batch, 1)` where a `LogitsProcessing`
            looks at rows that are at different places.
        prompt_lengths: int32 `(batch,)`, number of the tokens that were given.
        max_length: Number of tokens that a row has at the end, an int32 scalar.
        stop_token_ids: Ids that end a row; empty where none does.
    """

    token_ids: Any
    index: Any
    prompt_lengths: Any
    max_length: Any
    stop_token_ids: tuple[int, ...] = ()

    @property
    def indices(self):
        """The place of the next token, `(batch, 1)` or `(1, 1)`."""
        return ops.reshape(ops.cast(self.index, "int32"), (-1, 1))


class LogitsProcessing:
    """Base class of the records: their values are their config."""

    def __call__(self, logits, step: GenerationStep):
        """Returns the changed logits `(batch, vocabulary)`."""
        raise NotImplementedError(f"{type(self).__name__} has to define `__call__`.")

    def get_config(self) -> dict[str, Any]:
        return asdict(self)  # pyright: ignore[reportArgumentType]: every subclass is a record

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def processed(logits, step: GenerationStep, processing: Sequence[Callable]):
    """Returns logits after every change in turn."""
    for change in processing:
        logits = change(logits, step)
    return logits


def is_any_of(token_ids, wanted: Sequence[int]):
    """Returns booleans of the shape of `token_ids`: whether each is one of the `wanted`.

    Example:
    >>> ops.convert_to_numpy(is_any_of(np.array([3, 1, 4]), (1, 4))).tolist()
    [False, True, True]
    """
    found = ops.zeros_like(token_ids, dtype="bool")
    for token_id in wanted:
        found = ops.logical_or(found, ops.equal(token_ids, token_id))
    return found


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class RepetitionPenalty(LogitsProcessing):
    """Makes tokens that a row has already less likely.

    Paper: Keskar et al., 2019, https://arxiv.org/abs/1909.05858

    Args:
        penalty: Divides a score above zero and multiplies one below; 1 changes nothing.

    Example:
    >>> step = GenerationStep(np.array([[2, 0]]), 1, np.array([1]), 2)
    >>> logits = RepetitionPenalty(2.0)(np.array([[1.0, 1.0, 1.0]], "float32"), step)
    >>> ops.convert_to_numpy(logits).tolist()
    [[1.0, 1.0, 0.5]]
    """

    penalty: float

    def __post_init__(self):
        if not self.penalty > 0:
            raise ConfigError(f"`penalty` must be more than 0, not {self.penalty!r}.")

    def __call__(self, logits, step):
        is_there = ops.arange(ops.shape(step.token_ids)[1], dtype="int32")[None] < step.indices
        is_there = ops.broadcast_to(is_there, ops.shape(step.token_ids))
        seen = _marked(step.token_ids, is_there, ops.shape(logits)[1])
        penalised = ops.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return ops.where(seen, penalised, logits)


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class NoRepeatNgrams(LogitsProcessing):
    """Forbids the token that would repeat a sequence of `size` tokens of its row.

    Paper: Paulus et al., 2017, https://arxiv.org/abs/1705.04304
    """

    size: int

    def __post_init__(self):
        _check_count("size", self.size, least=1)

    def __call__(self, logits, step):
        tokens = step.token_ids
        num_starts = tokens.shape[1] - self.size + 1
        if num_starts < 1:
            return logits
        starts = ops.arange(num_starts, dtype="int32")
        # The sequence that starts there has to lie before the token to be chosen.
        rows = ops.shape(tokens)[0]
        repeats = ops.broadcast_to(starts[None] + self.size <= step.indices, (rows, num_starts))
        for i in range(self.size - 1):
            place = ops.maximum(step.indices - (self.size - 1) + i, 0)
            last = ops.take_along_axis(tokens, ops.broadcast_to(place, (rows, 1)), axis=1)
            repeats = ops.logical_and(repeats, ops.equal(tokens[:, i : i + num_starts], last))
        banned = _marked(tokens[:, self.size - 1 :], repeats, ops.shape(logits)[1])
        return ops.where(banned, float("-inf"), logits)


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class MinLength(LogitsProcessing):
    """Forbids the end of a row that would have fewer than `length` tokens before it.

    Args:
        length: Counted with the prompt.
    """

    length: int

    def __post_init__(self):
        _check_count("length", self.length, least=0)

    def __call__(self, logits, step):
        return _without_stop_tokens(logits, step, step.indices < self.length)


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class MinNewTokens(LogitsProcessing):
    """Forbids the end of a row before `count` tokens are generated."""

    count: int

    def __post_init__(self):
        _check_count("count", self.count, least=0)

    def __call__(self, logits, step):
        is_early = step.indices - step.prompt_lengths[:, None] < self.count
        return _without_stop_tokens(logits, step, is_early)


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class ForcedFirstToken(LogitsProcessing):
    """Makes `token_id` the first token that is generated in each row."""

    token_id: int

    def __post_init__(self):
        _check_count("token_id", self.token_id, least=0)

    def __call__(self, logits, step):
        is_first = ops.equal(step.prompt_lengths[:, None], step.indices)
        return ops.where(is_first, _only(self.token_id, logits), logits)


@keras.saving.register_keras_serializable("clozework")
@dataclass(frozen=True)
class ForcedLastToken(LogitsProcessing):
    """Makes `token_id` the last token of rows that reach the maximum length."""

    token_id: int

    def __post_init__(self):
        _check_count("token_id", self.token_id, least=0)

    def __call__(self, logits, step):
        is_last = ops.equal(step.indices, ops.cast(step.max_length, "int32") - 1)
        return ops.where(is_last, _only(self.token_id, logits), logits)


def _marked(token_ids, is_meant, vocabulary_size):
    """Returns booleans `(batch, vocabulary)`: the tokens of each row that are meant."""
    batch, tokens = token_ids.shape
    rows = ops.broadcast_to(ops.arange(batch, dtype="int32")[:, None], (batch, tokens))
    places = ops.stack([ops.reshape(rows, (-1,)), ops.reshape(token_ids, (-1,))], axis=-1)
    counts = ops.reshape(ops.cast(is_meant, "int32"), (-1,))
    return ops.scatter(places, counts, (batch, vocabulary_size)) > 0


def _without_stop_tokens(logits, step: GenerationStep, where):
    ids = ops.arange(ops.shape(logits)[1], dtype="int32")
    is_forbidden = ops.logical_and(where, is_any_of(ids, step.stop_token_ids)[None, :])
    return ops.where(is_forbidden, float("-inf"), logits)


def _only(token_id: int, logits):
    ids = ops.arange(ops.shape(logits)[1], dtype="int32")
    return ops.where(ops.equal(ids, token_id), 0.0, float("-inf"))[None, :]


def _check_count(name: str, value, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"`{name}` must be a whole number of at least {least}, not {value!r}.")
