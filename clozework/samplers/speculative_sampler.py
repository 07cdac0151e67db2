"""Speculative sampling: a small model drafts, and a large one checks several tokens at once."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from clozework.errors import ConfigError, InputError
from clozework.samplers.logits_processing import is_any_of, processed
from clozework.samplers.sampler import Sampler, Search, placed
from clozework.samplers.token_samplers import GreedySampler, drawn

__all__ = ["SpeculativeSampler"]


@keras.saving.register_keras_serializable("clozework")
class SpeculativeSampler(Sampler):
    """Takes over the tokens of a draft model as far as the main model may say them; see `Sampler`.

    Paper: Leviathan et al., 2023, https://arxiv.org/abs/2211.17192

    Texts are those that the base sampler draws from the main model, whatever the draft: only the
    number of calls depends on it. The rows of a batch go on together, at the pace of the one whose
    draft is refused first.

    Args:
        num_speculative_tokens: Number of tokens that are drafted before each check.
        base_sampler: A sampler that chooses token by token; None takes the likeliest each time.
        seed: As in `RandomSampler`.
        **kwargs: `temperature` and `logits_processing`; those of the base sampler by default.

    Call arguments:
        draft_next: As `next`, of the draft model.
        draft_cache: What it keeps.
        verify_next: A function `verify_next(prompt, cache, index, k)` that returns the main model's
            logits `(batch, k + 1, vocabulary)` for the tokens from `index` on, and its cache. By
            default `next` is called for each.

    Raises:
        InputError: If there is no `draft_next`.

    Example:
    >>> logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    >>> def next(prompt, cache, index):
    ...     return logits, None, cache
    >>> ids = SpeculativeSampler()(next, np.array([[2, 0, 0]]), index=1, draft_next=next)
    >>> ops.convert_to_numpy(ids).tolist()
    [[2, 1, 1]]
    """

    is_token_by_token = False

    def __init__(
        self,
        num_speculative_tokens=5,
        base_sampler: Sampler | None = None,
        seed=None,
        **kwargs,
    ):
        is_count = isinstance(num_speculative_tokens, int)
        if not is_count or isinstance(num_speculative_tokens, bool) or num_speculative_tokens < 1:
            raise ConfigError(
                f"`num_speculative_tokens` must be a whole number of at least 1, not "
                f"{num_speculative_tokens!r}."
            )
        if base_sampler is not None:
            if not isinstance(base_sampler, Sampler) or not base_sampler.is_token_by_token:
                raise ConfigError(
                    f"`base_sampler` must be a sampler that chooses token by token, such as "
                    f"TopKSampler(k=5), or None. Received: {base_sampler!r:.80}."
                )
            kwargs = {
                "temperature": base_sampler.temperature,
                "logits_processing": base_sampler.logits_processing,
                **kwargs,
            }
        super().__init__(**kwargs)
        self.num_speculative_tokens = num_speculative_tokens
        self.base_sampler = base_sampler
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

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
        draft_next=None,
        draft_cache=None,
        verify_next=None,
    ):
        if draft_next is None:
            raise InputError(
                "Speculative sampling needs a draft: call the sampler with `draft_next`, or "
                "`generate` with `assistant_model=`, a smaller model of the same vocabulary."
            )
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
        draft_cache = () if draft_cache is None else draft_cache
        return self._filled(search, draft_next, draft_cache, verify_next or _one_by_one(next))

    def run(self, search: Search):
        raise InputError("Speculative sampling needs a draft model; call the sampler itself.")

    def get_config(self):
        base = self.base_sampler
        return {
            **super().get_config(),
            "num_speculative_tokens": self.num_speculative_tokens,
            "base_sampler": None if base is None else keras.saving.serialize_keras_object(base),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config.get("base_sampler"), Mapping):
            base = keras.saving.deserialize_keras_object(config["base_sampler"])
            config["base_sampler"] = base
        return super().from_config(config)

    def _filled(self, search: Search, draft_next, draft_cache, verify_next):
        length = search.prompt.shape[1]
        count = max(1, min(self.num_speculative_tokens, length - 1))
        places = ops.arange(length, dtype="int32")

        def is_open(prompt, cache, draft_cache, index):
            return search.is_open(prompt, search.mask, index)

        def put_tokens(prompt, cache, draft_cache, index):
            # A check ends within the row: near its end it begins with tokens that are there.
            start = ops.minimum(index, length - count)
            is_fixed = ops.logical_or(search.mask, (places < index)[None, :])
            drafted, drafts, draft_cache = self._drafted(
                search, draft_next, (prompt, draft_cache), start, count, is_fixed
            )
            logits, *_, cache = verify_next(drafted, cache, start, count)
            wanted = self._wanted(search, drafted, logits, start)
            is_fixed = ops.logical_or(is_fixed, _is_behind_end(drafted, search))
            here = start + ops.arange(count, dtype="int32")
            is_accepted = self._accepts(ops.take(drafted, here, axis=1), drafts, wanted[:, :count])
            is_accepted = ops.logical_or(ops.take(is_fixed, here, axis=1), is_accepted)
            num_accepted = ops.sum(ops.cumprod(ops.cast(is_accepted, "int32"), axis=1), axis=1)
            least = ops.min(num_accepted)
            tokens = self._corrected(drafts, wanted, least)
            # Rows whose draft was good for longer keep it.
            place = start + least
            is_good = num_accepted > least
            kept = ops.take(drafted, ops.minimum(place, length - 1), axis=1)
            tokens = ops.where(is_good, kept, ops.cast(tokens, kept.dtype))
            prompt = ops.where((places < place)[None, :], drafted, prompt)
            return placed(prompt, search.mask, place, tokens), cache, draft_cache, place + 1

        prompt, *_ = self.run_loop(
            is_open,
            put_tokens,
            model=search.model,
            loop_vars=(search.prompt, search.cache, draft_cache, search.index),
        )
        return prompt

    def _drafted(self, search: Search, draft_next, state, start, count: int, is_fixed):
        """Returns the prompt with drafts, their distributions `(batch, count, vocabulary)`, cache.

        Args:
            search, draft_next, count: As in the call.
            state: Prompt and cache.
            start: The first place.
            is_fixed: Booleans `(batch, tokens)`: what stays.
        """

        def draft(i, prompt, cache):
            logits, _, cache = draft_next(prompt, cache, start + i)
            weights = self._distribution(logits, search.step(prompt, start + i))
            tokens = drawn(weights, self.seed_generator)[:, 0]
            return placed(prompt, is_fixed, start + i, tokens), cache, weights

        def draft_next_token(i, prompt, cache, drafts):
            prompt, cache, weights = draft(i, prompt, cache)
            return i + 1, prompt, cache, ops.slice_update(drafts, (0, i, 0), weights[:, None])

        prompt, cache, weights = draft(0, *state)
        drafts = ops.pad(weights[:, None], ((0, 0), (0, count - 1), (0, 0)))
        _, prompt, cache, drafts = self.run_loop(
            lambda i, *_: ops.less(i, count),
            draft_next_token,
            model=search.model,
            loop_vars=(ops.cast(1, "int32"), prompt, cache, drafts),
        )
        return prompt, drafts, cache

    def _wanted(self, search: Search, drafted, logits, start):
        """Returns the main model's distributions, `(batch, places, vocabulary)`."""
        distributions = [
            self._distribution(logits[:, i], search.step(drafted, start + i))
            for i in range(logits.shape[1])
        ]
        return ops.stack(distributions, axis=1)

    def _distribution(self, logits, step):
        """Returns the probabilities `(batch, vocabulary)` with which the base draws each token."""
        logits = processed(ops.cast(logits, "float32"), step, self.logits_processing)
        base = GreedySampler() if self.base_sampler is None else self.base_sampler
        return base.distribution(self.compute_probabilities(logits))

    def _accepts(self, tokens, drafts, wanted):
        """Returns which drafted tokens, `(batch, places)`, the main model might have said."""
        of_draft, of_main = (
            ops.take_along_axis(x, ops.cast(tokens, "int32")[..., None], axis=-1)[..., 0]
            for x in (drafts, wanted)
        )
        chance = keras.random.uniform(tuple(tokens.shape), seed=self.seed_generator)
        return chance * of_draft < of_main

    def _corrected(self, drafts, wanted, place):
        """Returns tokens `(batch,)` for a place where drafts are refused, or behind them all."""
        # Behind the drafts, where there is nothing to make up for.
        drafts = ops.pad(drafts, ((0, 0), (0, 1), (0, 0)))
        drafts, wanted = (ops.take(x, place, axis=1) for x in (drafts, wanted))
        missing = ops.maximum(wanted - drafts, 0.0)
        # Nothing is missing in rows that accept, whose token is not used.
        is_any = ops.sum(missing, axis=-1, keepdims=True) > 0
        return drawn(ops.where(is_any, missing, wanted), self.seed_generator)[:, 0]


def _one_by_one(next_token: Callable) -> Callable:
    """Returns a `verify_next` that calls `next` for each token."""

    def verify_next(prompt, cache, index, count: int) -> tuple[Any, Any]:
        all_logits = []
        for i in range(count + 1):
            # Behind the row no token is taken.
            place = ops.minimum(index + i, prompt.shape[1] - 1)
            logits, _, cache = next_token(prompt, cache, place)
            all_logits.append(logits)
        return ops.stack(all_logits, axis=1), cache

    return verify_next


def _is_behind_end(prompt, search: Search):
    """Returns booleans `(batch, tokens)`: what stands behind a stop token, and does not matter."""
    is_stop = ops.logical_and(
        is_any_of(prompt, search.stop_token_ids), ops.logical_not(search.mask)
    )
    is_stop = ops.cast(is_stop, "int32")
    return ops.cumsum(is_stop, axis=1) - is_stop > 0
