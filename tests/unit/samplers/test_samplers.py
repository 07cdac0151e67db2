"""What samplers promise beside the token ids of others."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework import samplers
from clozework.backend import while_loop
from clozework.errors import ConfigError, InputError
from tests.unit.samplers import toy_language as toy

BY_NAME = {
    "beam": samplers.BeamSampler,
    "contrastive": samplers.ContrastiveSampler,
    "greedy": samplers.GreedySampler,
    "random": samplers.RandomSampler,
    "speculative": samplers.SpeculativeSampler,
    "top_k": samplers.TopKSampler,
    "top_p": samplers.TopPSampler,
}
PROCESSING = [samplers.RepetitionPenalty(1.5), samplers.NoRepeatNgrams(2)]
ODD = {
    "beam": {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.5},
    "contrastive": {"k": 2, "alpha": 0.3},
    "greedy": {"temperature": 0.5},
    "random": {"seed": 3},
    "top_k": {"k": 2, "seed": 1},
    "top_p": {"p": 0.8, "k": 3, "seed": 1},
}


def ids_of(sampler, **options):
    return ops.convert_to_numpy(toy.sampled(sampler, **options))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_sampler_is_got_by_name_class_config_or_itself(name):
    sampler = samplers.get(name)
    assert type(sampler) is BY_NAME[name]
    assert type(samplers.get(BY_NAME[name])) is BY_NAME[name]
    assert type(samplers.get(samplers.serialize(sampler))) is BY_NAME[name]
    assert samplers.get(sampler) is sampler
    assert samplers.get(None) is None


@pytest.mark.parametrize("name", ["beam", "contrastive", "top_p"])
def test_a_sampler_that_is_stored_gives_the_same_tokens(name):
    sampler = BY_NAME[name](**ODD[name], logits_processing=PROCESSING)
    again = samplers.deserialize(samplers.serialize(sampler))
    assert again.get_config() == sampler.get_config()
    np.testing.assert_array_equal(ids_of(again), ids_of(sampler))


def test_configs_of_keras_hub_are_read():
    config = {
        "module": "keras_hub.src.samplers.top_k_sampler",
        "class_name": "TopKSampler",
        "config": {"temperature": 0.7, "k": 3, "seed": None},
        "registered_name": "keras_hub>TopKSampler",
    }
    sampler = samplers.deserialize(config)
    assert (sampler.k, sampler.temperature) == (3, 0.7)


class SecondBestSampler(samplers.Sampler):
    """A user's own, without a constructor of its own kind."""

    def __init__(self):
        self.is_mine = True

    def get_next_token(self, probabilities):
        return ops.argsort(probabilities, axis=-1)[:, -2]

    def get_config(self):
        return {}


def test_a_class_of_the_user_works_like_a_sampler():
    ids = ids_of(SecondBestSampler())
    np.testing.assert_array_equal(ids[toy.MASK], toy.PROMPT[toy.MASK])
    assert not (ids == ids_of(samplers.GreedySampler())).all()
    config = {"class_name": "SecondBestSampler", "config": {}}
    own = samplers.deserialize(config, custom_objects={"SecondBestSampler": SecondBestSampler})
    np.testing.assert_array_equal(ids_of(own), ids)


def test_a_function_is_a_sampler():
    def given(next, prompt, **arguments):  # noqa: A002
        return prompt

    assert samplers.get(given) is given


@pytest.mark.parametrize("name", ["random", "top_k", "top_p"])
def test_seeds_make_the_draws_the_same_and_draws_differ_from_call_to_call(name):
    options = {"temperature": 5.0, **({"k": 12} if name == "top_k" else {})}
    options |= {"p": 1.0} if name == "top_p" else {}
    sampler = BY_NAME[name](seed=4, **options)
    first, second = ids_of(sampler), ids_of(sampler)
    assert (first != second).any()
    np.testing.assert_array_equal(ids_of(BY_NAME[name](seed=4, **options)), first)
    assert (ids_of(BY_NAME[name](seed=5, **options)) != first).any()


def test_draws_without_a_seed_follow_keras():
    keras.utils.set_random_seed(1)
    first = ids_of(samplers.RandomSampler())
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(ids_of(samplers.RandomSampler()), first)


def test_a_low_temperature_is_greedy():
    cold = samplers.TopKSampler(k=50, seed=1, temperature=1e-4)
    np.testing.assert_array_equal(ids_of(cold), ids_of(samplers.GreedySampler()))


@pytest.mark.parametrize("options", [{"k": 1}, {"p": 0.0}])
def test_the_narrowest_choice_is_greedy(options):
    sampler = samplers.TopKSampler(**options) if "k" in options else samplers.TopPSampler(**options)
    np.testing.assert_array_equal(ids_of(sampler), ids_of(samplers.GreedySampler()))


@pytest.mark.parametrize("name", ["greedy", "beam", "contrastive"])
def test_what_is_given_at_the_end_of_all_rows_ends_generation(name):
    calls = []

    def counted(prompt, cache, index):
        calls.append(index)
        return toy.next_token(prompt, cache, index)

    mask = toy.MASK.copy()
    mask[:, 8:] = True
    sampler = BY_NAME[name](**ODD[name])
    ids = sampler(
        counted,
        toy.PROMPT,
        cache=toy.prompt_cache(),
        index=toy.INDEX,
        mask=mask,
        hidden_states=toy.hidden_states(),
    )
    ids = ops.convert_to_numpy(ids)
    assert (ids[:, 8:] == 0).all()
    assert (ids[:, 5:8] != 0).any()
    if keras.backend.backend() == "torch":
        # Contrastive search looks one token ahead.
        assert len(calls) == 8 - toy.INDEX + (name == "contrastive")


def test_all_beams_come_best_first_and_scored_by_length():
    sampler = samplers.BeamSampler(num_beams=3, return_all_beams=True, length_penalty=1.0)
    prompt = toy.PROMPT[:1, :2]
    padded = np.pad(prompt, ((0, 0), (0, 6)))
    ids, scores = sampler(toy.next_token, padded, cache=toy.prompt_cache(padded), index=2)
    ids, scores = ops.convert_to_numpy(ids)[0], ops.convert_to_numpy(scores)[0]
    assert (np.diff(scores) <= 0).all()
    for text, score in zip(ids, scores, strict=True):
        cache, total = toy.prompt_cache(text[None]), 0.0
        for i in range(1, 7):
            logits, _, cache = toy.read(ops.convert_to_tensor(text[None, i]), cache)
            total += float(ops.log_softmax(logits)[0, text[i + 1]])
        np.testing.assert_allclose(score, total / 8, rtol=0, atol=1e-5)


def test_a_loop_changes_variables_and_reads_those_of_a_scope_around_it():
    generator = keras.random.SeedGenerator(1)
    weight = keras.Variable(1.0, trainable=False)

    def turn(i, total):
        return i + 1, total + weight.value * keras.random.uniform((), seed=generator)

    def total():
        start = (ops.convert_to_tensor(0), ops.convert_to_tensor(0.0))
        changed, read = [generator.state], [weight, generator.state]
        return float(while_loop(lambda i, _: i < 3, turn, start, changed=changed, read=read)[1])

    first = total()
    assert total() != first
    generator.state.assign(keras.random.SeedGenerator(1).state)
    with keras.StatelessScope(state_mapping=[(weight, ops.convert_to_tensor(2.0))]):
        np.testing.assert_allclose(total(), 2 * first, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: samplers.GreedySampler(temperature=0), "`temperature` must be more than 0, not 0"),
        (lambda: samplers.TopKSampler(k=0), "`k` must be a whole number of at least 1, not 0"),
        (lambda: samplers.TopPSampler(k=1.5), "`k` must be a whole number of at least 1, not 1.5"),
        (lambda: samplers.TopPSampler(p=2), "`p` must be between 0 and 1, not 2"),
        (lambda: samplers.BeamSampler(num_beams=0), "`num_beams` must be at least 1, not 0"),
        (lambda: samplers.BeamSampler(early_stopping="soon"), "must be True, False or 'never'"),
        (lambda: samplers.ContrastiveSampler(k=-1), "`k` must be a whole number"),
        (lambda: samplers.ContrastiveSampler(alpha=3), "`alpha` must be between 0 and 1, not 3"),
        (lambda: samplers.RepetitionPenalty(0), "`penalty` must be more than 0, not 0"),
        (lambda: samplers.NoRepeatNgrams(0), "`size` must be a whole number of at least 1, not 0"),
        (lambda: samplers.MinLength(-1), "`length` must be a whole number of at least 0, not -1"),
        (lambda: samplers.get("top-k"), "There is no sampler 'top-k'. Did you mean 'top_k'?"),
        (lambda: samplers.get(3), "A sampler is a name .*Received: 3"),
        (lambda: samplers.deserialize({"config": {}}), "has a 'class_name'"),
        (lambda: samplers.deserialize({"class_name": "os.system"}), "no sampler 'os.system'"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_contrastive_search_needs_hidden_states():
    with pytest.raises(InputError, match="call the sampler with `hidden_states`"):
        samplers.ContrastiveSampler()(toy.next_token, toy.PROMPT, cache=toy.prompt_cache(), index=2)


def test_abstract_classes_say_what_is_missing():
    with pytest.raises(NotImplementedError, match="Sampler has to define `get_next_token`"):
        samplers.Sampler().get_next_token(np.ones((1, 2)))
    with pytest.raises(NotImplementedError, match="LogitsProcessing has to define `__call__`"):
        samplers.LogitsProcessing()(np.ones((1, 2)), None)
