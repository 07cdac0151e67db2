"""What a sampler calls to read the next token: of each text, or of several continuations of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from clozework.samplers import Sampler, SharedCache
from clozework.tasks.generation import given_lengths

__all__ = ["TokenPlaces", "begin_reading", "num_branches_of"]


class TokenPlaces(NamedTuple):
    """Where tokens stand that are read side by side, if not one behind the other.

    Attributes:
        positions: `(batch, tokens)`, in their texts.
        key_positions: `(places,)` or `(batch, places)`, of what stands in the cache.
        attention_mask: Booleans `(batch, tokens, places)`: which places belong to their texts.
    """

    positions: Any
    key_positions: Any
    attention_mask: Any


def num_branches_of(sampler) -> int:
    """Returns how many continuations of each text are read at once."""
    return sampler.num_branches if isinstance(sampler, Sampler) else 1


def begin_reading(model, inputs, prompt_tokens: int) -> tuple[Any, Callable, Any]:
    """Reads prompts: returns their vectors, and `next` and the cache for the model's sampler.

    Args:
        model: A `CausalLM`.
        inputs, prompt_tokens: As in its `generate_step`.
    """
    ids_name, mask_name = model.prompt_inputs
    length = inputs[ids_name].shape[1]
    num_branches = num_branches_of(model.sampler)
    if num_branches > 1:
        num_places = prompt_tokens + length * num_branches
        vectors, cache, context = model.read_prompts(inputs, prompt_tokens, num_places)
        branches = _Branches(model, context, prompt_tokens, length, num_branches)
        return vectors, branches.next_token, branches.cache(cache, inputs[mask_name])
    vectors, cache, context = model.read_prompts(inputs, prompt_tokens)

    def next_token(prompt, cache, index):
        # The token before, of which the cache holds nothing yet.
        last = ops.take(prompt, ops.reshape(index - 1, (1,)), axis=1)
        vectors, cache = model.read_tokens(last, cache, index - 1, context)
        return model.logits(vectors)[:, 0], vectors[:, 0], cache

    return vectors, next_token, cache


class _Branches:
    """Reads the last tokens of all continuations of a text as if they were tokens of one row.

    The cache holds the prompt once, and behind it each token of each continuation, at a place that
    it keeps. What changes as continuations are chosen is which places they descend from: a mask,
    in place of a copy of the cache.

    Args:
        model: A `CausalLM`.
        context: As `read_prompts` gave it.
        prompt_tokens: How many places of the cache hold prompts.
        length: Most tokens of a text.
        num_branches: Continuations of each text.
    """

    def __init__(self, model, context, prompt_tokens: int, length: int, num_branches: int):
        self.num_places = prompt_tokens + length * num_branches
        self._model = model
        self._context = context
        self._prompt_tokens = prompt_tokens
        self._num_branches = num_branches
        behind = ops.repeat(ops.arange(length, dtype="int32"), num_branches)
        self._key_positions = ops.concatenate([ops.arange(prompt_tokens, dtype="int32"), behind])

    def cache(self, tensors, prompt_mask) -> dict[str, Any]:
        """Returns the cache that a sampler starts with.

        Args:
            tensors: The model's cache, of prompts.
            prompt_mask: `(batch, tokens)`, true for the prompts. The last token that all of them
                have is read again, as one of each continuation.
        """
        num_known = ops.minimum(ops.min(given_lengths(prompt_mask)) - 1, self._prompt_tokens)
        is_known = ops.arange(self.num_places, dtype="int32") < num_known
        places = ops.broadcast_to(is_known[None], (prompt_mask.shape[0], self.num_places))
        return {"shared": SharedCache(tensors), "places": places}

    def next_token(self, prompt, cache, index):
        """What samplers call `next`; `prompt` has the rows of a text side by side."""
        position, num_branches = index - 1, self._num_branches
        last = ops.reshape(ops.take(prompt, position, axis=1), (-1, num_branches))
        batch = last.shape[0]
        first = self._prompt_tokens + position * num_branches
        own = ops.arange(self.num_places, dtype="int32")[None] == (
            first + ops.arange(num_branches, dtype="int32")[:, None]
        )
        places = ops.reshape(cache["places"], (batch, num_branches, self.num_places))
        places = ops.logical_or(places, own[None])
        vectors, tensors = self._model.read_tokens(
            last,
            cache["shared"].tensors,
            first,
            self._context,
            places=TokenPlaces(ops.broadcast_to(position, last.shape), self._key_positions, places),
        )
        rows = batch * num_branches
        vectors = ops.reshape(vectors, (rows, -1))
        cache = {"shared": SharedCache(tensors), "places": ops.reshape(places, (rows, -1))}
        return self._model.logits(vectors), vectors, cache
