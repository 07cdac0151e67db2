"""A language whose next token depends on all before it, as a `next` function for samplers."""

import numpy as np
from keras import ops

VOCABULARY = 12
LENGTH = 14
STOP = (2, 7)
PROMPT_LENGTHS = np.array([2, 5, 3])

_generator = np.random.default_rng(5)
VECTORS = _generator.normal(size=(VOCABULARY, 6)).astype("float32")
OUTPUT = _generator.normal(scale=0.5, size=(6, VOCABULARY)).astype("float32")
TABLE = _generator.normal(size=(VOCABULARY, VOCABULARY)).astype("float32")

MASK = np.arange(LENGTH) < PROMPT_LENGTHS[:, None]
PROMPT = np.where(MASK, _generator.integers(8, VOCABULARY, MASK.shape), 0).astype("int32")
INDEX = 2


def read(tokens, cache):
    """Returns logits, hidden states and the new cache after one more token of each row."""
    cache = -0.9 * cache + ops.take(ops.convert_to_tensor(VECTORS), tokens, axis=0)
    logits = ops.matmul(cache, OUTPUT) + ops.take(ops.convert_to_tensor(TABLE), tokens, axis=0)
    return logits, cache, cache


def next_token(prompt, cache, index):
    """What samplers call `next`."""
    return read(ops.take(prompt, index - 1, axis=1), cache)


def prompt_cache(prompt=PROMPT, index=INDEX):
    """Returns the cache after the tokens before the last one that is known of all rows."""
    cache = ops.zeros((prompt.shape[0], 6))
    for i in range(index - 1):
        cache = read(ops.convert_to_tensor(prompt[:, i]), cache)[1]
    return cache


def hidden_states(prompt=PROMPT):
    """Returns the states of all tokens of the prompt, `(batch, tokens, 6)`."""
    cache, states = ops.zeros((prompt.shape[0], 6)), []
    for i in range(prompt.shape[1]):
        cache = read(ops.convert_to_tensor(prompt[:, i]), cache)[1]
        states.append(cache)
    return ops.stack(states, axis=1)


def sampled(sampler, stop_token_ids=STOP):
    """Returns what a sampler makes of the prompts."""
    return sampler(
        next_token,
        ops.convert_to_tensor(PROMPT),
        cache=prompt_cache(),
        index=INDEX,
        mask=ops.convert_to_tensor(MASK),
        stop_token_ids=stop_token_ids,
        hidden_states=hidden_states(),
    )


def next_token_of_row(prompt, cache, index, table=TABLE):
    """The same without a cache: all tokens are read each time."""
    age = ops.cast(index, "int32") - 1 - ops.arange(prompt.shape[1], dtype="int32")
    sign = 1 - 2 * ops.cast(age % 2, "float32")
    weights = ops.where(age >= 0, sign * 0.9 ** ops.cast(ops.maximum(age, 0), "float32"), 0.0)
    vectors = ops.take(ops.convert_to_tensor(VECTORS), prompt, axis=0)
    state = ops.einsum("t,bth->bh", weights, vectors)
    last = ops.take(prompt, index - 1, axis=1)
    logits = ops.matmul(state, OUTPUT) + ops.take(ops.convert_to_tensor(table), last, axis=0)
    return logits, state, cache


def draft_of_row(prompt, cache, index):
    """Another language, in which the likeliest token is often the same."""
    return next_token_of_row(prompt, cache, index, table=np.roll(TABLE, 1, axis=0) * 0.3 + TABLE)


def speculated(sampler, stop_token_ids=STOP, mask=MASK):
    """Returns what a speculative sampler makes of the prompts, with drafts of the other language.

    Args:
        sampler, stop_token_ids: As in `sampled`.
        mask: Booleans `(batch, tokens)`: the part of the prompts that is given.
    """
    return sampler(
        next_token_of_row,
        ops.convert_to_tensor(np.where(mask, PROMPT, 0)),
        index=INDEX,
        mask=ops.convert_to_tensor(mask),
        stop_token_ids=stop_token_ids,
        draft_next=draft_of_row,
    )
