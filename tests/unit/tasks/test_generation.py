"""Texts from prompts: the same as without a cache, in few shapes, by every way."""

import json
import threading

import keras
import numpy as np
import pytest

from clozework import models, samplers
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from clozework.tasks import causal_lm as causal_lm_module
from clozework.tasks import generation_batches
from clozework.tasks.generation import filled_mask, rounded_rows
from clozework.tasks.streaming import text_pieces
from tests.contract.families import FAMILIES, tiny_backbone, tiny_preprocessor, tiny_task

PROMPTS = ["the quick", "heaven and earth and the quick", "a"]
ON_JAX = keras.backend.backend() == "jax"


def one_block(**options):
    """Returns a Gemma of one block, as programs are compiled for it again and again."""
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=1)
    return tiny_task(models.GemmaCausalLM, backbone=backbone, **options)


@pytest.fixture(scope="module")
def causal_lm():
    """A tiny Gemma with its greedy sampler, shared: tests don't train it."""
    return one_block()


@pytest.fixture(scope="module")
def bare(causal_lm):
    """The same without a preprocessor."""
    return models.GemmaCausalLM(causal_lm.backbone)


def arrays(causal_lm, texts=PROMPTS, length=16):
    return causal_lm.preprocessor.generate_preprocess(texts, sequence_length=length)


def greedily(causal_lm, ids, length):
    """Goes on with ids by calling the model on all of them, each time."""
    ids = list(ids)
    while len(ids) < length:
        row = np.array([ids + [0] * (length - len(ids))])
        inputs = {"token_ids": row, "padding_mask": (np.arange(length) < len(ids))[None]}
        logits = keras.ops.convert_to_numpy(causal_lm(inputs))
        ids.append(int(logits[0, len(ids) - 1].argmax()))
    return ids


def test_the_cache_changes_no_token(causal_lm):
    tokenizer = causal_lm.preprocessor.tokenizer
    rows = [[tokenizer.start_token_id, *row] for row in tokenizer.encode_ids(PROMPTS)]
    expected = [greedily(causal_lm, row, 16) for row in rows]
    inputs = arrays(causal_lm)
    outputs = models.GemmaCausalLM(causal_lm.backbone).generate(inputs, stop_token_ids=None)
    np.testing.assert_array_equal(outputs["token_ids"], expected)
    assert outputs["padding_mask"].all()
    # Without a tokenizer, nothing tells the end.
    outputs = models.GemmaCausalLM(causal_lm.backbone).generate(inputs)
    np.testing.assert_array_equal(outputs["token_ids"], expected)


def test_a_cache_may_be_one_array_as_in_keras_hub(causal_lm):
    ids = np.array([[1, 5, 6, 7]])
    logits, _, caches = causal_lm.call_with_cache(ids, causal_lm.empty_cache(1, 6), 0)
    array = keras.ops.stack([cache.in_form_of(np.zeros(1)) for cache in caches], axis=1)
    others, _, filled = causal_lm.call_with_cache(ids, keras.ops.zeros_like(array), 0)
    for one, other in ((others, logits), (filled, array)):
        one, other = (keras.ops.convert_to_numpy(x) for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_text_is_the_same_alone_in_a_batch_and_behind_others(causal_lm, monkeypatch):
    together = causal_lm.generate(PROMPTS, max_length=12)
    assert together == [causal_lm.generate(text, max_length=12) for text in PROMPTS]
    for module in (causal_lm_module, generation_batches):
        monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)
    assert causal_lm.generate(PROMPTS * 2, max_length=12) == together * 2
    assert [text.startswith(prompt) for text, prompt in zip(together, PROMPTS, strict=True)]


def test_few_programs_serve_all_lengths(causal_lm, monkeypatch):
    calls = []
    inner = causal_lm.vectors_with_cache

    def counted(*arguments):
        calls.append(arguments)
        return inner(*arguments)

    monkeypatch.setattr(causal_lm, "vectors_with_cache", counted, raising=True)
    causal_lm.compile(sampler="greedy")
    causal_lm.generate(["the"], max_length=21)
    first = len(calls)
    for prompt, max_length in (("the quick brown", 30), ("a", 17), ("heaven", 32)):
        text = causal_lm.generate(prompt, max_length=max_length, stop_token_ids=None)
        causal_lm.generate([prompt], max_length=max_length)
        assert text
    if ON_JAX:
        # One more program has no stop tokens; each is traced a few times.
        assert len(calls) <= 2 * first


def test_texts_end_at_the_maximum_length_whatever_the_shape(bare, causal_lm):
    outputs = bare.generate(arrays(causal_lm, length=11), stop_token_ids=None)
    longer = bare.generate(arrays(causal_lm, length=14), stop_token_ids=None)
    assert outputs["token_ids"].shape == (3, 11)
    np.testing.assert_array_equal(outputs["token_ids"], longer["token_ids"][:, :11])
    again = bare.generate(arrays(causal_lm, length=11), max_length=14, stop_token_ids=None)
    np.testing.assert_array_equal(again["token_ids"], longer["token_ids"])


def test_stop_tokens_end_a_text_and_belong_to_it(bare, causal_lm):
    free = bare.generate(arrays(causal_lm), stop_token_ids=None)["token_ids"]
    stop = int(free[0, 8])
    outputs = bare.generate(arrays(causal_lm), stop_token_ids=[stop])
    start = int(arrays(causal_lm)["padding_mask"][0].sum())
    end = start + free[0, start:].tolist().index(stop)
    assert outputs["padding_mask"][0].tolist() == [True] * (end + 1) + [False] * (15 - end)
    np.testing.assert_array_equal(outputs["token_ids"][0, : end + 1], free[0, : end + 1])


def test_prompts_are_stripped_where_that_is_asked_for(bare, causal_lm):
    whole = bare.generate(arrays(causal_lm), stop_token_ids=None)
    stripped = bare.generate(arrays(causal_lm), stop_token_ids=None, strip_prompt=True)
    for i, start in enumerate(arrays(causal_lm)["padding_mask"].sum(axis=1)):
        kept = stripped["token_ids"][i, stripped["padding_mask"][i]]
        np.testing.assert_array_equal(kept, whole["token_ids"][i, start:])
    one = {name: values[0] for name, values in arrays(causal_lm).items()}
    unbatched = bare.generate(one, stop_token_ids=None)
    np.testing.assert_array_equal(unbatched["token_ids"], whole["token_ids"][0])
    text = causal_lm.generate("the quick", max_length=12, strip_prompt=True)
    assert causal_lm.generate("the quick", max_length=12).endswith(text)


@pytest.mark.parametrize("sampler", [samplers.GreedySampler(), samplers.TopKSampler(k=4, seed=1)])
def test_a_stream_is_what_generate_returns(causal_lm, sampler):
    causal_lm.compile(sampler=sampler)
    state = [keras.ops.convert_to_numpy(variable) for variable in sampler.variables]
    pieces = list(causal_lm.stream("the quick", max_length=14))
    for variable, value in zip(sampler.variables, state, strict=True):
        variable.assign(value)
    # Numbers are drawn for one row, as in a stream.
    assert "the quick" + "".join(pieces) == causal_lm.generate("the quick", max_length=14)
    causal_lm.compile()


def test_part_of_a_character_is_held_back_until_it_is_whole():
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "Ã": 4, "©": 5}
    tokenizer = models.BartTokenizer(vocabulary, [])
    assert list(text_pieces(tokenizer, [0, 3], [4, 5, 3, 2])) == ["é", "a"]
    # What is never whole comes at the end, as `generate` returns it.
    assert list(text_pieces(tokenizer, [], [3, 4])) == ["a", "\ufffd"]


def test_seeds_make_texts_the_same():
    texts = []
    for seed in (1, 1, 2):
        causal_lm = one_block()
        causal_lm.compile(sampler=samplers.RandomSampler(seed=seed))
        texts.append([causal_lm.generate(PROMPTS, stop_token_ids=None) for _ in range(2)])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert texts[0][0] != texts[0][1]


@pytest.mark.parametrize("name", ["beam", "contrastive"])
def test_every_sampler_goes_on_with_a_model(causal_lm, name):
    causal_lm.compile(sampler=name)
    texts = causal_lm.generate(PROMPTS, max_length=12)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, PROMPTS, strict=True))
    causal_lm.compile()


def test_training_on_strings_makes_texts_likely_and_generation_follows():
    causal_lm = one_block()
    before = causal_lm.generate("the", max_length=8)
    causal_lm.compile(optimizer=keras.optimizers.Adam(0.05), sampler="greedy")
    history = causal_lm.fit(["the quick brown fox"] * 8, batch_size=8, epochs=15, verbose=0)
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    assert causal_lm.generate("the") == "the quick brown fox" != before


def test_labels_are_the_tokens_that_follow_and_padding_weighs_nothing(causal_lm):
    preprocessor = causal_lm.preprocessor
    x, y, weights = preprocessor(PROMPTS, sequence_length=12)
    np.testing.assert_array_equal(y[:, :-1], x["token_ids"][:, 1:])
    np.testing.assert_array_equal(weights.sum(axis=1), x["padding_mask"].sum(axis=1) - 1)
    assert y[weights][-1] == preprocessor.tokenizer.end_token_id
    loss = causal_lm.evaluate(PROMPTS, verbose=0)[0]
    logits = keras.ops.convert_to_numpy(causal_lm(x)).astype("float64")
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    losses = -np.take_along_axis(logs, y[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(loss, losses[weights].mean(), rtol=1e-5)


def test_long_texts_are_cut_with_a_warning_and_long_prompts_refused(causal_lm):
    preprocessor = tiny_preprocessor(models.GemmaCausalLM, sequence_length=4)
    with pytest.warns(ClozeworkWarning, match="1 of 2 texts have more than 5 tokens"):
        preprocessor(["heaven and earth and fox", "the"])
    one = preprocessor("the")
    assert one[0]["token_ids"].shape == one[1].shape == (4,)
    with pytest.raises(InputError, match="A prompt has .* tokens, but a text is to have at most 3"):
        causal_lm.generate(PROMPTS, max_length=3)
    with pytest.raises(InputError, match="takes strings, but text 0 is a pair"):
        causal_lm.generate([("the fox", "heaven")])


def test_threads_take_turns(causal_lm):
    expected = causal_lm.generate(PROMPTS, max_length=12)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(causal_lm.generate(PROMPTS, max_length=12)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_keras_file_keeps_the_sampler(tmp_path):
    causal_lm = one_block()
    causal_lm.compile(sampler=samplers.TopKSampler(k=3, seed=5))
    causal_lm.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert loaded.sampler.get_config() == {"temperature": 1.0, "k": 3, "seed": 5}
    assert loaded.generate(PROMPTS) == causal_lm.generate(PROMPTS)


def test_settings_count_where_no_sampler_is_given(causal_lm, tmp_path):
    settings = {"do_sample": True, "top_k": 3, "max_length": 11, "eos_token_id": [1, 40]}
    model = one_block(generation_settings=settings)
    assert (type(model.sampler), model.sampler.k) == (samplers.TopKSampler, 3)
    assert model._stated_length("the") == 11
    model.compile(sampler="greedy")
    assert model.generate(PROMPTS, stop_token_ids=None) == causal_lm.generate(
        PROMPTS, stop_token_ids=None
    )
    # What ends a text does not depend on the sampler.
    assert model._stop_token_ids("auto") == (1, 40)
    model.compile()
    for name in ("keras", "preset"):
        if name == "keras":
            model.save(tmp_path / "model.keras")
            again = keras.saving.load_model(tmp_path / "model.keras")
        else:
            model.save_to_preset(tmp_path / name)
            again = models.CausalLM.from_preset(tmp_path / name)
        assert again.generation_settings == model.generation_settings
        assert (type(again.sampler), again._follows_settings) == (samplers.TopKSampler, True)


def test_new_tokens_are_counted_for_each_prompt(causal_lm):
    model = one_block(generation_settings={"max_new_tokens": 4})
    model.backbone.set_weights(causal_lm.backbone.get_weights())
    together = model.generate(PROMPTS, stop_token_ids=None, strip_prompt=True)
    for prompt, text in zip(PROMPTS, together, strict=True):
        length = model.preprocessor.prompt_length(prompt)
        options = {"max_length": length + 4, "stop_token_ids": None}
        assert text == causal_lm.generate(prompt, strip_prompt=True, **options)
        assert text == "".join(model.stream(prompt, stop_token_ids=None))
    # What is asked for counts first.
    longer = model.generate(PROMPTS, max_length=20, stop_token_ids=None)
    assert longer == causal_lm.generate(PROMPTS, max_length=20, stop_token_ids=None)


def test_an_export_says_how_to_generate(tmp_path):
    model = one_block(generation_settings={"repetition_penalty": 1.5})
    model.export_to_transformers(tmp_path / "theirs")
    content = json.loads((tmp_path / "theirs" / "generation_config.json").read_text())
    assert content == {
        "repetition_penalty": 1.5,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def test_low_precision_generates(tmp_path, causal_lm):
    causal_lm.save_to_preset(tmp_path / "preset")
    low = models.CausalLM.from_preset(tmp_path / "preset", dtype="bfloat16")
    texts = low.generate(PROMPTS, max_length=10)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, PROMPTS, strict=True))


def test_score_gives_logits_losses_and_a_look_inside(causal_lm):
    x, y, _ = causal_lm.preprocessor(PROMPTS)
    logits = keras.ops.convert_to_numpy(causal_lm(x))
    score = causal_lm.score(x["token_ids"], x["padding_mask"])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(score), logits, rtol=0, atol=1e-5)
    losses = causal_lm.score(x["token_ids"], x["padding_mask"], scoring_mode="loss", target_ids=y)
    logs = logits - np.log(np.exp(logits.astype("float64")).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(logs, y[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(losses), expected, rtol=0, atol=1e-4)
    seen = []
    causal_lm.score(x["token_ids"], layer_intercept_fn=lambda x, i: (seen.append(i), x)[1])
    assert seen == [-1, 0]
    changed = causal_lm.score(
        x["token_ids"], x["padding_mask"], layer_intercept_fn=lambda x, i: 0.0 * x if i < 0 else x
    )
    assert np.abs(keras.ops.convert_to_numpy(changed) - logits).max() > 1e-3
    with pytest.raises(InputError, match="`scoring_mode` is 'logits' or 'loss', not 'both'"):
        causal_lm.score(x["token_ids"], scoring_mode="both")
    with pytest.raises(InputError, match="`scoring_mode='loss'` needs `target_ids`"):
        causal_lm.score(x["token_ids"], scoring_mode="loss")


def test_no_prompts_give_no_texts(causal_lm, bare):
    assert causal_lm.generate([]) == []
    empty = arrays(causal_lm, [])
    assert bare.generate(empty, stop_token_ids=None)["token_ids"].shape == (0, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": -3}, "`max_length` must be a positive integer. Received: -3"),
        ({"max_length": 6.5}, "`max_length` must be a positive integer. Received: 6.5"),
        ({"stop_token_ids": 3}, "`stop_token_ids` is 'auto', None, or a list .* Received: 3"),
        ({"stop_token_ids": []}, r"`stop_token_ids` is 'auto', None, or a list .* Received: \[\]"),
        ({"stop_token_ids": [9999]}, "`stop_token_ids` holds 9999, but the vocabulary has the ids"),
        ({"stop_token_ids": ["<eos>"]}, "`stop_token_ids` holds '<eos>', but the vocabulary"),
    ],
)
def test_impossible_options_are_refused(causal_lm, options, message):
    with pytest.raises(InputError, match=message):
        causal_lm.generate("the", **options)


def test_impossible_prompts_are_refused(causal_lm, bare):
    with pytest.raises(InputError, match="takes a dict with 'token_ids' and 'padding_mask'"):
        bare.generate("the", stop_token_ids=None)
    with pytest.raises(InputError, match="A prompt has 2 tokens, but a text is to have at most 1"):
        bare.generate(arrays(causal_lm, ["a"]), max_length=1, stop_token_ids=None)
    packed = arrays(causal_lm)
    packed["padding_mask"] = packed["padding_mask"] * 2
    with pytest.raises(InputError, match="'padding_mask' has values above 1, texts packed into"):
        bare.generate(packed, stop_token_ids=None)
    gap = arrays(causal_lm)
    gap["padding_mask"] = np.roll(gap["padding_mask"], 1, axis=1)
    with pytest.raises(InputError, match="padded on the right, but 'padding_mask' has a gap"):
        bare.generate(gap, stop_token_ids=None)
    plain = tiny_preprocessor(models.GemmaCausalLM, add_start_token=False)
    without_start = models.GemmaCausalLM(causal_lm.backbone, plain)
    with pytest.raises(InputError, match="Prompt 1 has no token to go on from"):
        without_start.generate(["the", ""])


def test_samplers_that_cannot_be_are_refused(causal_lm):
    with pytest.raises(ConfigError, match="There is no sampler 'foo'"):
        causal_lm.compile(sampler="foo")
    with pytest.raises(ConfigError, match="`sampler` is None; name one"):
        causal_lm.compile(sampler=None)
    with pytest.raises(ConfigError, match="returns one text for a prompt, but the sampler has"):
        causal_lm.compile(sampler=samplers.BeamSampler(return_all_beams=True))
    uncompiled = models.GemmaCausalLM(causal_lm.backbone, causal_lm.preprocessor, compile=False)
    with pytest.raises(ConfigError, match="was not compiled, so that it has no sampler"):
        uncompiled.generate("the")
    searching = models.GemmaCausalLM(causal_lm.backbone, causal_lm.preprocessor)
    searching.compile(sampler="beam")
    with pytest.raises(ConfigError, match="one token after another, which BeamSampler does not"):
        searching.stream("the")


def test_a_stream_is_of_one_text(causal_lm, bare):
    with pytest.raises(InputError, match="goes on with one text, not with several"):
        causal_lm.stream(["the"])
    with pytest.raises(InputError, match="`stream` needs a preprocessor"):
        bare.stream("the")


def test_labels_are_needed_and_have_to_be_ids(bare, causal_lm):
    x, y, _ = causal_lm.preprocessor(PROMPTS)
    with pytest.raises(InputError, match="Training a causal LM on arrays needs labels"):
        bare.fit(x, verbose=0)
    with pytest.raises(InputError, match="Labels go from -1 to"):
        bare.fit(x, np.where(y == 0, -1, y), verbose=0)


def test_abstract_models_say_what_is_missing(causal_lm):
    with pytest.raises(NotImplementedError, match="has to define `empty_cache`"):
        models.CausalLM.empty_cache(causal_lm, 1, 2)
    with pytest.raises(NotImplementedError, match="has to define `vectors_with_cache`"):
        models.CausalLM.vectors_with_cache(causal_lm, None, None, 0)


def test_rows_are_rounded_up_and_masks_end_behind_the_stop():
    assert rounded_rows(np.arange(3)[:, None])[:, 0].tolist() == [0, 1, 2, 2]
    ids, mask = np.array([[7, 7, 1, 7, 0]]), np.array([[1, 1, 0, 0, 0]])
    ended = keras.ops.convert_to_numpy(filled_mask(ids, mask, [7]))
    assert ended.tolist() == [[True, True, True, True, False]]
