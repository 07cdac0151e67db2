"""Beam search."""

import keras
from keras import ops

from clozework.errors import ConfigError
from clozework.samplers.beams import gathered, merged, repeated, split
from clozework.samplers.logits_processing import is_any_of, processed
from clozework.samplers.sampler import Sampler, Search, placed

__all__ = ["BeamSampler"]

# Scores that lose against every other, but can be added to.
_WORST = -1e9


@keras.saving.register_keras_serializable("clozework")
class BeamSampler(Sampler):
    """Keeps the likeliest texts as a whole; see `Sampler`.

    As it stands, all beams go on until each text has a beam with a stop token, and the one with the
    highest probability is taken, as in KerasHub. With `length_penalty` or `early_stopping` given,
    finished texts are kept apart and compared by length, as in Hugging Face `transformers`.

    Args:
        num_beams: Number of continuations that are kept of each text.
        return_all_beams: Whether to return all of them, `(batch, num_beams, tokens)`, best first,
            and the logarithms of their probabilities `(batch, num_beams)`.
        length_penalty: Power of the number of new tokens that divides the logarithm; above 0 it
            favours long texts. 1.0 where only `early_stopping` is given.
        early_stopping: Ends the search of a text: True once it has `num_beams` finished ones, False
            (where only `length_penalty` is given) once a better one is unlikely, `"never"` once
            there can be none.

    Example:
    >>> logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    >>> def next(prompt, cache, index):
    ...     return ops.repeat(logits, prompt.shape[0], axis=0), None, cache
    >>> ids = BeamSampler(num_beams=2)(next, np.array([[2, 0, 0]]), index=1)
    >>> ops.convert_to_numpy(ids).tolist()
    [[2, 1, 1]]
    """

    is_token_by_token = False

    def __init__(
        self,
        num_beams=5,
        return_all_beams=False,
        *,
        length_penalty=None,
        early_stopping=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(num_beams, int) or isinstance(num_beams, bool) or num_beams < 1:
            raise ConfigError(f"`num_beams` must be at least 1, not {num_beams!r}.")
        if early_stopping not in (None, True, False, "never"):
            raise ConfigError(
                f"`early_stopping` must be True, False or 'never', not {early_stopping!r}."
            )
        self.num_beams = num_beams
        self.return_all_beams = return_all_beams
        self.length_penalty = length_penalty
        self.early_stopping = early_stopping

    @property
    def num_branches(self):
        return self.num_beams

    def run(self, search: Search):
        if self.length_penalty is None and self.early_stopping is None:
            prompts, scores = self._running(search)
            order = ops.argsort(-scores, axis=-1)
        else:
            prompts, scores = self._finished(search)
            order = ops.broadcast_to(ops.arange(self.num_beams), scores.shape)
        if not self.return_all_beams:
            return gathered(merged(prompts), self.num_beams, order[:, :1])
        best_first = split(gathered(merged(prompts), self.num_beams, order), self.num_beams)
        return best_first, ops.take_along_axis(scores, order, axis=-1)

    def get_config(self):
        config = {
            **super().get_config(),
            "num_beams": self.num_beams,
            "return_all_beams": self.return_all_beams,
        }
        ours = {"length_penalty": self.length_penalty, "early_stopping": self.early_stopping}
        return {**config, **{name: v for name, v in ours.items() if v is not None}}

    def _running(self, search: Search):
        """KerasHub's search: returns all beams `(batch, beams, tokens)` and their scores."""
        num_beams = self.num_beams
        mask = repeated(search.mask, num_beams)

        def is_open(prompt, cache, index, scores):
            return search.is_open(prompt, mask, index)

        def put_tokens(prompt, cache, index, scores):
            candidates, cache = self._candidate_scores(search, prompt, cache, index)
            candidates = candidates + scores[:, :, None]
            scores, beam_ids, tokens = _best(candidates, num_beams)
            prompt, cache = gathered((prompt, cache), num_beams, beam_ids)
            prompt = placed(prompt, mask, index, merged(tokens[..., None])[:, 0])
            return prompt, cache, index + 1, scores

        prompt, _, _, scores = self.run_loop(
            is_open,
            put_tokens,
            model=search.model,
            loop_vars=(
                repeated(search.prompt, num_beams),
                repeated(search.cache, num_beams),
                search.index,
                _first_beam_only(search.prompt.shape[0], num_beams),
            ),
        )
        return split(prompt, num_beams), scores

    def _finished(self, search: Search):
        """Keeps finished texts apart: returns `(batch, beams, tokens)` and scores, best first."""
        hypotheses = _Hypotheses(
            search,
            self.num_beams,
            1.0 if self.length_penalty is None else self.length_penalty,
            self.early_stopping or False,
        )

        def is_open(prompt, cache, index, scores, finished):
            return ops.logical_and(ops.less(index, search.end), ops.any(finished["is_searching"]))

        def put_tokens(prompt, cache, index, scores, finished):
            candidates, cache = self._candidate_scores(search, prompt, cache, index)
            candidates = hypotheses.with_given_tokens(candidates, index) + scores[:, :, None]
            scores, beam_ids, tokens = _best(candidates, hypotheses.num_candidates)
            prompts = gathered(prompt, self.num_beams, beam_ids)
            mask = repeated(search.mask, beam_ids.shape[1])
            is_given = ops.take(search.mask, index, axis=1)
            tokens = ops.where(
                is_given[:, None], ops.take(search.prompt, index, axis=1)[:, None], tokens
            )
            prompts = placed(prompts, mask, index, ops.reshape(tokens, (-1,)))
            ends = hypotheses.ends(tokens, is_given, index)
            finished = hypotheses.add(finished, prompts, scores, ends, index)
            # Those that have not ended go on.
            scores, chosen = ops.top_k(scores + _WORST * ops.cast(ends, "float32"), self.num_beams)
            prompt = gathered(prompts, beam_ids.shape[1], chosen)
            beam_ids = ops.take_along_axis(beam_ids, chosen, axis=1)
            cache = gathered(cache, self.num_beams, beam_ids)
            finished = hypotheses.check(finished, scores, index + 1)
            return prompt, cache, index + 1, scores, finished

        *_, finished = self.run_loop(
            is_open,
            put_tokens,
            model=search.model,
            loop_vars=(
                repeated(search.prompt, self.num_beams),
                repeated(search.cache, self.num_beams),
                search.index,
                _first_beam_only(search.prompt.shape[0], self.num_beams),
                hypotheses.none(),
            ),
        )
        return finished["prompts"], finished["scores"]

    def _candidate_scores(self, search: Search, prompt, cache, index):
        """Returns log probabilities `(batch, beams, vocabulary)` of the next token, and the cache.

        They are processed after they are normalised, and not normalised again.
        """
        logits, _, cache = search.next(prompt, cache, index)
        scores = ops.log_softmax(ops.cast(logits, "float32") / self.temperature, axis=-1)
        scores = processed(scores, search.step(prompt, index), self.logits_processing)
        return split(scores, self.num_beams), cache


class _Hypotheses:
    """Finished texts of each row, apart from the running beams; its state is a dict of tensors."""

    def __init__(self, search: Search, num_beams: int, length_penalty: float, early_stopping):
        self.search = search
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.early_stopping = early_stopping
        # Enough for `num_beams` to go on when the others end.
        self.num_candidates = max(2, 1 + len(search.stop_token_ids)) * num_beams

    def none(self) -> dict:
        """Returns the state before the search."""
        batch = self.search.prompt.shape[0]
        return {
            "prompts": split(repeated(self.search.prompt, self.num_beams), self.num_beams),
            "scores": ops.full((batch, self.num_beams), _WORST, "float32"),
            "is_finished": ops.zeros((batch, self.num_beams), "bool"),
            "is_searching": ops.ones((batch, 1), "bool"),
        }

    def with_given_tokens(self, candidates, index):
        """Returns scores that change nothing where the token is given."""
        is_given = ops.take(self.search.mask, index, axis=1)[:, None, None]
        given = ops.take(self.search.prompt, index, axis=1)[:, None, None]
        ids = ops.arange(candidates.shape[-1], dtype=given.dtype)
        return ops.where(is_given, ops.where(ops.equal(ids, given), 0.0, float("-inf")), candidates)

    def ends(self, tokens, is_given, index):
        """Returns booleans `(batch, candidates)`: which end with their new token."""
        is_stop = is_any_of(tokens, self.search.stop_token_ids)
        is_stop = ops.logical_and(is_stop, ops.logical_not(is_given)[:, None])
        return ops.logical_or(is_stop, ops.equal(index + 1, self.search.end))

    def add(self, finished: dict, prompts, scores, ends, index) -> dict:
        """Returns the state with what has just ended, if it is among the best."""
        is_among_best = ops.arange(scores.shape[1]) < self.num_beams
        is_new = ops.logical_and(ends, is_among_best[None, :])
        is_taken = ops.logical_and(is_new, finished["is_searching"])
        if self.early_stopping is True:
            is_full = ops.all(finished["is_finished"], axis=-1, keepdims=True)
            is_taken = ops.logical_and(is_taken, ops.logical_not(is_full))
        scores = scores / self._divisor(index + 1)
        scores = ops.where(is_taken, scores, scores + _WORST)
        scores = ops.concatenate([finished["scores"], scores], axis=1)
        is_finished = ops.concatenate([finished["is_finished"], is_new], axis=1)
        all_prompts = ops.concatenate(
            [finished["prompts"], split(prompts, self.num_candidates)], axis=1
        )
        scores, chosen = ops.top_k(scores, self.num_beams)
        return {
            "prompts": split(
                gathered(merged(all_prompts), all_prompts.shape[1], chosen), self.num_beams
            ),
            "scores": scores,
            "is_finished": ops.take_along_axis(is_finished, chosen, axis=1),
            "is_searching": finished["is_searching"],
        }

    def check(self, finished: dict, scores, index) -> dict:
        """Returns the state with the rows marked that need no further search."""
        is_patient = self.early_stopping == "never" and self.length_penalty > 0
        best = scores[:, :1] / self._divisor(self.search.end if is_patient else index)
        worst = ops.min(finished["scores"], axis=1, keepdims=True)
        worst = ops.where(finished["is_finished"], worst, _WORST)
        is_searching = ops.any(best > worst, axis=1, keepdims=True)
        if self.early_stopping is True:
            is_full = ops.all(finished["is_finished"], axis=1, keepdims=True)
            is_searching = ops.logical_and(is_searching, ops.logical_not(is_full))
        return {
            **finished,
            "is_searching": ops.logical_and(finished["is_searching"], is_searching),
        }

    def _divisor(self, length):
        """The number of new tokens in rows of `length`, to the power of the penalty."""
        new = ops.maximum(length - self.search.prompt_lengths, 1)
        return ops.power(ops.cast(new, "float32"), self.length_penalty)[:, None]


def _first_beam_only(batch: int, num_beams: int):
    """Scores under which the first step takes different tokens of one beam."""
    scores = ops.where(ops.arange(num_beams) < 1, 0.0, _WORST)
    return ops.broadcast_to(ops.cast(scores, "float32")[None, :], (batch, num_beams))


def _best(candidates, count: int):
    """Returns scores, beam ids and tokens, `(batch, count)`, of the best candidates.

    Args:
        candidates: Scores `(batch, beams, vocabulary)`.
        count: How many.
    """
    batch, _, vocabulary_size = candidates.shape
    scores, places = ops.top_k(ops.reshape(candidates, (batch, -1)), count)
    places = ops.cast(places, "int32")
    return scores, places // vocabulary_size, places % vocabulary_size
