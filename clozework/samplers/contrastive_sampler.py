"""Contrastive search."""

import keras
from keras import ops

from clozework.errors import ConfigError, InputError
from clozework.samplers.beams import gathered, repeated, split
from clozework.samplers.logits_processing import processed
from clozework.samplers.sampler import Sampler, Search, placed

__all__ = ["ContrastiveSampler"]


@keras.saving.register_keras_serializable("clozework")
class ContrastiveSampler(Sampler):
    """Weighs how likely a token is against how much it resembles what was said; see `Sampler`.

    Paper: Su et al., 2022, https://arxiv.org/abs/2202.06417

    Args:
        k: Number of likely tokens among which the next is chosen.
        alpha: Weight of the resemblance, 0 to 1; 0 is greedy search.

    Raises:
        InputError: If `hidden_states` are not given in the call.

    Example:
    >>> logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    >>> def next(prompt, cache, index):
    ...     rows = prompt.shape[0]
    ...     return ops.repeat(logits, rows, axis=0), ops.ones((rows, 4)), cache
    >>> prompt, states = np.array([[2, 0, 0]]), np.ones((1, 3, 4), "float32")
    >>> ids = ContrastiveSampler(k=2)(next, prompt, index=1, hidden_states=states)
    >>> ops.convert_to_numpy(ids).tolist()
    [[2, 1, 1]]
    """

    def __init__(self, k=5, alpha=0.6, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise ConfigError(f"`k` must be a whole number of at least 1, not {k!r}.")
        if not 0 <= alpha <= 1:
            raise ConfigError(f"`alpha` must be between 0 and 1, not {alpha!r}.")
        self.k = k
        self.alpha = alpha

    def run(self, search: Search):
        if search.hidden_states is None:
            raise InputError(
                "Contrastive search compares hidden states: call the sampler with `hidden_states`, "
                "`(batch, tokens, hidden_dim)`."
            )
        logits, _, cache = search.next(search.prompt, search.cache, search.index)
        k = min(self.k, logits.shape[-1])
        mask = repeated(search.mask, k)

        def is_open(prompt, cache, index, logits, hidden_states):
            return search.is_open(prompt, search.mask, index)

        def put_token(prompt, cache, index, logits, hidden_states):
            logits = processed(
                ops.cast(logits, "float32"), search.step(prompt, index), self.logits_processing
            )
            probabilities, tokens = ops.top_k(self.compute_probabilities(logits), k=k)
            prompts = placed(repeated(prompt, k), mask, index, ops.reshape(tokens, (-1,)))
            # What each candidate would lead to.
            logits, states, cache = search.next(prompts, repeated(cache, k), index + 1)
            likeness = _likeness(hidden_states, split(states, k), index)
            scores = (1.0 - self.alpha) * probabilities - self.alpha * likeness
            best = ops.argmax(scores, axis=1)[:, None]
            prompt, cache, logits, states = gathered((prompts, cache, logits, states), k, best)
            is_here = ops.equal(ops.arange(hidden_states.shape[1], dtype="int32"), index)
            hidden_states = ops.where(
                is_here[None, :, None],
                ops.cast(states, hidden_states.dtype)[:, None, :],
                hidden_states,
            )
            return prompt, cache, index + 1, logits, hidden_states

        prompt, *_ = self.run_loop(
            is_open,
            put_token,
            model=search.model,
            loop_vars=(
                search.prompt,
                cache,
                search.index,
                logits,
                ops.convert_to_tensor(search.hidden_states),
            ),
        )
        return prompt

    def get_config(self):
        return {**super().get_config(), "k": self.k, "alpha": self.alpha}


def _likeness(hidden_states, candidates, index):
    """Returns the highest cosine of each candidate, `(batch, k)`, with any token before `index`."""
    before = _normalised(hidden_states)
    likeness = ops.einsum("bth,bkh->bkt", before, _normalised(candidates))
    is_before = ops.arange(hidden_states.shape[1], dtype="int32") < index
    return ops.max(ops.where(is_before[None, None, :], likeness, -1.0), axis=-1)


def _normalised(x):
    x = ops.cast(x, "float32")
    return x / ops.maximum(ops.norm(x, axis=-1, keepdims=True), 1e-12)
