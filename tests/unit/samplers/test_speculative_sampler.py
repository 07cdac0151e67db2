"""Speculative sampling says what its base sampler would say, whatever the draft."""

import itertools

import numpy as np
import pytest
from keras import ops

from clozework import samplers
from clozework.errors import ConfigError, InputError
from tests.parity.toy_generator import until_stop
from tests.unit.samplers import toy_language as toy

PROCESSING = [samplers.RepetitionPenalty(1.5), samplers.NoRepeatNgrams(2)]


def speculated(sampler, **options):
    return ops.convert_to_numpy(toy.speculated(sampler, **options))


@pytest.mark.parametrize(("count", "processing"), [(3, PROCESSING), (20, [])])
def test_the_likeliest_tokens_are_those_of_the_main_model(count, processing):
    greedy = toy.sampled(samplers.GreedySampler(logits_processing=processing), ())
    sampler = samplers.SpeculativeSampler(count, logits_processing=processing)
    # Prompts of several lengths, so that rows have different tokens to check.
    np.testing.assert_array_equal(
        speculated(sampler, stop_token_ids=None), ops.convert_to_numpy(greedy)
    )


def test_stop_tokens_end_rows():
    greedy = ops.convert_to_numpy(toy.sampled(samplers.GreedySampler(), toy.STOP))
    found = speculated(samplers.SpeculativeSampler(4))
    for row, length in enumerate(toy.PROMPT_LENGTHS):
        one, other = (until_stop(x[row : row + 1], toy.STOP, length) for x in (found, greedy))
        np.testing.assert_array_equal(one, other)


def test_several_tokens_are_taken_over_at_once():
    """The main model says two drafted tokens, 9, and then the number of the round."""

    def always(token, prompt):
        return ops.one_hot(ops.full((prompt.shape[0],), token, "int32"), 10) * 50.0

    def verify(prompt, cache, index, count):
        logits = [always(9, prompt), always(9, prompt), always(cache, prompt)]
        return ops.stack([*logits, logits[-1]], axis=1), ops.zeros((1, 4, 3)), cache + 1

    ids = samplers.SpeculativeSampler(3)(
        None,
        np.array([[1, *[0] * 10]]),
        index=1,
        cache=ops.cast(0, "int32"),
        draft_next=lambda prompt, cache, index: (always(9, prompt), None, cache),
        verify_next=verify,
    )
    assert ops.convert_to_numpy(ids)[0, :10].tolist() == [1, 9, 9, 0, 9, 9, 1, 9, 9, 2]


VOCABULARY, LENGTH, ROWS = 3, 5, 20_000
_generator = np.random.default_rng(0)
# Logits by place and by the token before; drafts for every other place are right.
MAIN = _generator.normal(scale=1.5, size=(LENGTH, VOCABULARY, VOCABULARY)).astype("float32")
DRAFT = MAIN + _generator.normal(scale=1.5, size=MAIN.shape).astype("float32")
DRAFT[1::2] = MAIN[1::2]


def markov(tables):
    def next_token(prompt, cache, index):
        table = ops.take(ops.convert_to_tensor(tables), index, axis=0)
        return ops.take(table, ops.take(prompt, index - 1, axis=1), axis=0), None, cache

    return next_token


@pytest.mark.parametrize(
    "base",
    [
        samplers.RandomSampler(temperature=0.8),
        samplers.TopKSampler(k=2),
        samplers.TopPSampler(p=0.85),
    ],
)
def test_texts_have_the_distribution_of_the_main_model(base):
    sampler = samplers.SpeculativeSampler(3, base_sampler=base, seed=7)
    prompt = np.pad(np.zeros((ROWS, 1), "int32"), ((0, 0), (0, LENGTH - 1)))
    ids = sampler(markov(MAIN), prompt, index=1, draft_next=markov(DRAFT))
    ids = ops.convert_to_numpy(ids)[:, 1:]
    # The probability of every text, by NumPy.
    logits = MAIN.astype("float64") / base.temperature
    tables = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    tables = np.apply_along_axis(lambda row: narrowed(base, row), -1, tables)
    statistic, cells = 0.0, 0
    for text in itertools.product(range(VOCABULARY), repeat=LENGTH - 1):
        pairs = zip((0, *text), text, strict=False)
        expected = ROWS * np.prod([tables[i + 1][pair] for i, pair in enumerate(pairs)])
        found = (ids == text).all(axis=1).sum()
        if expected == 0:
            assert found == 0
        else:
            statistic, cells = statistic + (found - expected) ** 2 / expected, cells + 1
    # Chi-square is near the number of cells, give or take its root; one in a million is beyond.
    assert cells > 10
    assert statistic < cells + 6.0 * np.sqrt(2.0 * cells)


def narrowed(base, row):
    """Returns what a sampler draws from, of the probabilities of one token, by its definition."""
    order = np.argsort(-row)
    if isinstance(base, samplers.TopKSampler):
        kept = order[: base.k]
    elif isinstance(base, samplers.TopPSampler):
        kept = order[: 1 + int((np.cumsum(row[order]) <= base.p).sum())]
    else:
        kept = order
    probabilities = np.where(np.isin(np.arange(len(row)), kept), row, 0.0)
    return probabilities / probabilities.sum()


def test_the_options_of_the_base_count_unless_others_are_given():
    base = samplers.TopKSampler(k=3, temperature=0.5, logits_processing=PROCESSING)
    sampler = samplers.SpeculativeSampler(base_sampler=base)
    assert (sampler.temperature, sampler.logits_processing) == (0.5, tuple(PROCESSING))
    assert samplers.SpeculativeSampler(base_sampler=base, temperature=2.0).temperature == 2.0
    assert base.temperature == 0.5


def test_a_stored_sampler_says_the_same():
    base = samplers.TopPSampler(p=0.9, temperature=2.0, logits_processing=PROCESSING)
    sampler = samplers.SpeculativeSampler(2, base_sampler=base, seed=3)
    expected = speculated(sampler)
    again = samplers.deserialize(samplers.serialize(sampler))
    np.testing.assert_array_equal(speculated(again), expected)
    for other in (again, samplers.SpeculativeSampler.from_config(sampler.get_config())):
        assert other.get_config() == sampler.get_config()


def test_configs_of_keras_hub_are_read_with_the_sampler_within():
    base = {"class_name": "TopKSampler", "config": {"temperature": 0.7, "k": 3, "seed": 1}}
    base |= {
        "module": "keras_hub.src.samplers.top_k_sampler",
        "registered_name": "keras_hub>TopKSampler",
    }
    config = {"temperature": 0.7, "num_speculative_tokens": 4, "base_sampler": base, "seed": 2}
    sampler = samplers.get({"class_name": "SpeculativeSampler", "config": config})
    assert (sampler.num_speculative_tokens, sampler.base_sampler.k) == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_speculative_tokens": 0}, "`num_speculative_tokens` must be a whole number .* not 0"),
        ({"base_sampler": samplers.BeamSampler()}, "`base_sampler` must be a sampler that chooses"),
        ({"base_sampler": "top_k"}, "`base_sampler` must be .*Received: 'top_k'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        samplers.SpeculativeSampler(**arguments)


def test_a_draft_is_needed_and_a_base_that_says_how_it_draws():
    sampler = samplers.SpeculativeSampler()
    with pytest.raises(InputError, match="needs a draft: call the sampler with `draft_next`"):
        sampler(toy.next_token_of_row, toy.PROMPT, index=2)
    with pytest.raises(InputError, match="needs a draft model; call the sampler itself"):
        sampler.run(sampler.search(toy.next_token_of_row, toy.PROMPT, index=2))
    with pytest.raises(NotImplementedError, match="Sampler has to define `distribution`"):
        speculated(samplers.SpeculativeSampler(base_sampler=samplers.Sampler()))
