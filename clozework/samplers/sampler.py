"""The abstract sampler: a loop that puts one token after another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from clozework.backend import while_loop
from clozework.errors import ConfigError
from clozework.samplers.logits_processing import GenerationStep, is_any_of, processed

__all__ = ["Sampler", "Search", "placed"]


@dataclass(frozen=True)
class Search:
    """What a sampler was called with, made ready.

    Attributes:
        next: Gives logits, hidden states and cache for the token at an index.
        prompt: Ids `(batch, tokens)`.
        cache: Any structure of tensors whose first axis is the batch.
        index: Where the first token is to be put, an int32 scalar.
        mask: Booleans `(batch, tokens)`: what is given.
        stop_token_ids: Empty where none is known.
        hidden_states, model: As they were given.
        prompt_lengths: int32 `(batch,)`, the given tokens at the start of each row.
        end: Behind the last place that is open in any row, an int32 scalar.
    """

    next: Callable
    prompt: Any
    cache: Any
    index: Any
    mask: Any
    stop_token_ids: tuple[int, ...]
    hidden_states: Any
    model: Any
    prompt_lengths: Any
    end: Any

    def step(self, prompt, index) -> GenerationStep:
        """Returns what logits processing is told at `index`; rows may stand several times."""
        times = prompt.shape[0] // self.prompt_lengths.shape[0]
        return GenerationStep(
            token_ids=prompt,
            index=index,
            prompt_lengths=ops.repeat(self.prompt_lengths, times, axis=0),
            max_length=self.end,
            stop_token_ids=self.stop_token_ids,
        )

    def is_open(self, prompt, mask, index):
        """Returns whether there is a place left, and a row without a stop token of its own."""
        has_place = ops.less(index, self.end)
        if not self.stop_token_ids:
            return has_place
        # What stands behind `index` is padding, whose id may be that of a stop token.
        is_new = ops.logical_and(
            ops.logical_not(mask), ops.arange(prompt.shape[1], dtype="int32")[None, :] < index
        )
        is_stop = ops.logical_and(is_new, is_any_of(prompt, self.stop_token_ids))
        return ops.logical_and(has_place, ops.logical_not(ops.all(ops.any(is_stop, axis=-1))))


class Sampler:
    """Base class of what chooses the next tokens of a text.

    A subclass defines `get_next_token(probabilities)`: from `(batch, vocabulary)`, ids `(batch,)`.

    Args:
        temperature: Divides the logits: below 1 likely tokens become likelier.
        logits_processing: Changes to the logits before that, in turn, such as
            `[RepetitionPenalty(1.2), NoRepeatNgrams(3)]`; see `clozework.samplers`.

    Call arguments:
        next: A function `next(prompt, cache, index)` that returns logits `(batch, vocabulary)` for
            the token at `index`, the hidden states behind them, and the cache.
        prompt: Ids `(batch, tokens)`, with padding in the places to fill.
        cache: What `next` keeps, any structure of tensors whose first axis is the batch. Where a
            text has several rows, so has the cache, but for what stands in a `SharedCache`.
        index: The first place to fill.
        mask: Booleans `(batch, tokens)`, true for ids of the prompt, which stay. After the last
            place that is false in any row, generation ends.
        stop_token_ids: Ids that end a row; generation ends when all rows have a new one.
        hidden_states: Of the prompt `(batch, tokens, hidden_dim)`, for contrastive search.
        model: A model whose variables `next` reads, if it was called within a stateless scope.

    Outputs: The prompt with its open places filled.

    Example:
    >>> class LastSampler(Sampler):
    ...     def get_next_token(self, probabilities):
    ...         return ops.argmax(probabilities, axis=-1)
    >>> logits = np.array([[0.1, 0.2, 0.7]])
    >>> prompt = np.array([[1, 0, 0]])
    >>> ids = LastSampler()(lambda prompt, cache, index: (logits, None, cache), prompt, index=1)
    >>> ops.convert_to_numpy(ids).tolist()
    [[1, 2, 2]]
    """

    # Also of subclasses that do not call this constructor.
    temperature = 1.0
    logits_processing = ()
    # Continuations of each text that `next` reads at once.
    num_branches = 1
    # Whether each token is final when it is chosen, so that `choose` is all of it.
    is_token_by_token = True

    def __init__(self, temperature=1.0, *, logits_processing=()):
        if not temperature > 0:
            raise ConfigError(
                f"`temperature` must be more than 0, not {temperature!r}. For the likeliest token "
                f"each time use the sampler 'greedy'."
            )
        self.temperature = temperature
        self.logits_processing = tuple(logits_processing)

    def __call__(
        self,
        next,  # noqa: A002
        prompt,
        cache=None,
        index=0,
        mask=None,
        stop_token_ids=None,
        hidden_states=None,
        model=None,
    ):
        search = self.search(
            next,
            prompt,
            cache=cache,
            index=index,
            mask=mask,
            stop_token_ids=stop_token_ids,
            hidden_states=hidden_states,
            model=model,
        )
        return self.run(search)

    def search(
        self,
        next,  # noqa: A002
        prompt,
        *,
        cache=None,
        index=0,
        mask=None,
        stop_token_ids=None,
        hidden_states=None,
        model=None,
    ) -> Search:
        """Returns what a sampler was called with, made ready; arguments as in the call."""
        prompt = ops.convert_to_tensor(prompt)
        tokens = prompt.shape[1]
        mask = ops.zeros_like(prompt, "bool") if mask is None else ops.cast(mask, "bool")
        places = ops.arange(tokens, dtype="int32")
        is_given = ops.all(mask, axis=0)
        return Search(
            next=next,
            prompt=prompt,
            cache=() if cache is None else cache,
            index=ops.cast(index, "int32"),
            mask=mask,
            stop_token_ids=tuple(stop_token_ids or ()),
            hidden_states=hidden_states,
            model=model,
            # Given tokens up to the first open place.
            prompt_lengths=ops.sum(ops.cumprod(ops.cast(mask, "int32"), axis=1), axis=1),
            end=ops.max(ops.where(is_given, 0, places + 1)),
        )

    def run(self, search: Search):
        """Fills the open places, token by token; other kinds of search replace it."""

        def is_open(prompt, cache, index):
            return search.is_open(prompt, search.mask, index)

        def put_token(prompt, cache, index):
            logits, _, cache = search.next(prompt, cache, index)
            tokens = self.choose(logits, search.step(prompt, index))
            prompt = placed(prompt, search.mask, index, tokens)
            return prompt, cache, index + 1

        prompt, _, _ = self.run_loop(
            is_open,
            put_token,
            model=search.model,
            loop_vars=(search.prompt, search.cache, search.index),
        )
        return prompt

    def choose(self, logits, step: GenerationStep):
        """Returns the next token of each row, `(batch,)`, from logits `(batch, vocabulary)`."""
        logits = processed(ops.cast(logits, "float32"), step, self.logits_processing)
        return self.get_next_token(self.compute_probabilities(logits))

    def compute_probabilities(self, logits):
        """Returns the probabilities of all tokens, in float32."""
        return ops.softmax(ops.cast(logits, "float32") / self.temperature, axis=-1)

    def get_next_token(self, probabilities):
        """Returns ids `(batch,)`, chosen from probabilities `(batch, vocabulary)`."""
        raise NotImplementedError(f"{type(self).__name__} has to define `get_next_token`.")

    def distribution(self, probabilities):
        """Returns the probabilities `(batch, vocabulary)` with which `get_next_token` draws each.

        Needed of the base of a `SpeculativeSampler` only.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `distribution`.")

    def run_loop(self, cond, body, model=None, loop_vars=None, maximum_iterations=None):
        """Repeats `body` while `cond` holds, both called with the loop's variables.

        A compiled loop where the backend has one: random numbers differ from turn to turn.
        """
        return while_loop(
            cond,
            body,
            loop_vars,
            maximum_iterations=maximum_iterations,
            changed=self.variables,
            read=model.variables if model is not None else (),
        )

    @property
    def variables(self) -> list:
        """The state of the sampler's random numbers."""
        return [
            value.state
            for value in vars(self).values()
            if isinstance(value, keras.random.SeedGenerator)
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config: dict[str, Any] = {"temperature": self.temperature}
        if self.logits_processing:
            config["logits_processing"] = [
                keras.saving.serialize_keras_object(change) for change in self.logits_processing
            ]
        return config

    @classmethod
    def from_config(cls, config):
        """Returns a sampler with the arguments that `get_config` gave."""
        config = dict(config)
        if "logits_processing" in config:
            config["logits_processing"] = [
                keras.saving.deserialize_keras_object(change)
                for change in config["logits_processing"]
            ]
        return cls(**config)


def placed(prompt, mask, index, tokens):
    """Returns the prompt with tokens `(batch,)` at `index`, except where something is given."""
    is_here = ops.equal(ops.arange(prompt.shape[1], dtype="int32"), index)[None, :]
    is_here = ops.logical_and(is_here, ops.logical_not(mask))
    return ops.where(is_here, ops.cast(tokens, prompt.dtype)[:, None], prompt)
