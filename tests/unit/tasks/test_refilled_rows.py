"""Many prompts in few rows: each text is the one that its prompt gives alone."""

import keras
import numpy as np
import pytest

from clozework import models, samplers
from clozework.tasks import causal_lm, generation_batches
from clozework.tasks.refilled_rows import RefilledRows, can_refill
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task
from tests.unit.tasks.tiny_seq2seq import tiny_preprocessor, tiny_seq2seq

WORDS = "the quick brown fox jumps over lazy dog heaven and earth".split()
PROMPTS = [" ".join(WORDS[i % 7 : i % 7 + 1 + i % 3]) for i in range(11)]
LETTERS = {
    "encoder_text": ["ab cd", "e", "fgh abc", "a", "h g f e", "bb", "cd", "gg aa", "f", "db"],
    "decoder_text": ["", "abcd", "d d", "h", "", "gef", "a", "ab e", "c", "fhgab"],
}
PROCESSING = [
    samplers.RepetitionPenalty(1.5),
    samplers.NoRepeatNgrams(2),
    samplers.MinLength(6),
    samplers.MinNewTokens(3),
    samplers.ForcedFirstToken(7),
    samplers.ForcedLastToken(8),
]


@pytest.fixture(autouse=True)
def four_rows(monkeypatch):
    for module in (causal_lm, generation_batches):
        monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)


@pytest.fixture(scope="module", params=["gemma", "gemma with a window", "bart"])
def case(request):
    """A model and texts for it."""
    if request.param == "bart":
        preprocessor = tiny_preprocessor(decoder_sequence_length=12)
        return tiny_seq2seq(preprocessor), LETTERS
    window = {"use_sliding_window_attention": True, "sliding_window_size": 3}
    options = window if "window" in request.param else {}
    backbone = tiny_backbone(FAMILIES["gemma"], **options)
    return tiny_task(models.GemmaCausalLM, backbone=backbone), PROMPTS


def each(texts):
    """Returns each of the texts, as a batch of one."""
    if isinstance(texts, list):
        return [[text] for text in texts]
    rows = zip(*texts.values(), strict=True)
    return [dict(zip(texts, ([value] for value in row), strict=True)) for row in rows]


def ids_of(model, texts, **options):
    """Returns the ids of each text, without padding."""
    arrays = model.preprocessor.generate_preprocess(texts, sequence_length=None)
    preprocessor, model.preprocessor = model.preprocessor, None
    outputs = model.generate(arrays, **options)
    model.preprocessor = preprocessor
    ids_name, mask_name = model.prompt_inputs
    return [
        ids[mask].tolist() for ids, mask in zip(outputs[ids_name], outputs[mask_name], strict=True)
    ]


@pytest.mark.parametrize("processing", [[], PROCESSING])
def test_a_text_is_the_one_that_its_prompt_gives_alone(case, processing):
    model, texts = case
    model.compile(sampler=samplers.GreedySampler(logits_processing=processing))
    free = ids_of(model, texts, stop_token_ids=None)
    # So that texts end at different places.
    stops = [ids[-1 - i % 4] for i, ids in enumerate(free[:3])]
    together = ids_of(model, texts, stop_token_ids=stops)
    alone = [ids_of(model, text, stop_token_ids=stops)[0] for text in each(texts)]
    assert together == alone
    assert len({len(ids) for ids in alone}) > 1
    assert model._refilled_rows is not None


def test_prompts_without_room_stay_as_they_are():
    model = tiny_task(models.GemmaCausalLM)
    bare = models.GemmaCausalLM(model.backbone)
    ids = np.tile(np.arange(3, 9, dtype="int32"), (9, 1))
    mask = np.ones_like(ids)
    mask[::2, 4:] = 0
    outputs = bare.generate({"token_ids": ids, "padding_mask": mask})
    np.testing.assert_array_equal(outputs["token_ids"][1::2], ids[1::2])
    np.testing.assert_array_equal(outputs["token_ids"][::2, :4], ids[::2, :4])
    assert outputs["padding_mask"].all()


def test_seeds_make_texts_the_same(case):
    model, texts = case
    written = []
    for seed in (1, 1, 2):
        model.compile(sampler=samplers.RandomSampler(seed=seed))
        written.append(ids_of(model, texts, stop_token_ids=None))
    assert written[0] == written[1] != written[2]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX traces the loop once")
def test_rows_do_not_wait_for_the_longest_text(case):
    model, texts = case
    model.compile(sampler="greedy")
    free = ids_of(model, texts, stop_token_ids=None)
    stops = [ids[-1 - i % 4] for i, ids in enumerate(free[:3])]
    rows = []
    inner = model.read_tokens
    model.read_tokens = lambda ids, *rest: rows.append(len(ids)) or inner(ids, *rest)
    lengths = [len(ids) for ids in ids_of(model, texts, stop_token_ids=stops)]
    del model.read_tokens
    prompts = model.preprocessor.generate_preprocess(texts)[model.prompt_inputs[1]].sum(axis=1)
    needed = (np.array(lengths) - prompts).sum()
    starts = range(0, len(lengths), 4)
    longest = [max(lengths[i : i + 4]) - min(prompts[i : i + 4]) for i in starts]
    assert needed <= sum(rows) < 4 * sum(longest)


def test_a_function_of_a_users_own_is_told_one_place_for_all_rows(case):
    model, texts = case
    seen = []

    def without_change(logits, step):
        seen.append(step.index.shape)
        return logits

    sampler = samplers.GreedySampler(logits_processing=[without_change])
    assert not can_refill(sampler)
    model.compile(sampler=sampler)
    texts_with = model.generate(texts)
    assert set(seen) == {()}
    model.compile(sampler="greedy")
    assert model.generate(texts) == texts_with


def test_rows_are_taken_over_when_the_last_texts_need_fewer(case):
    model, texts = case
    model.compile(sampler="greedy")
    assert isinstance(model._rows_to_refill(), RefilledRows)
    assert model.generate(texts) == [model.generate(text)[0] for text in each(texts)]
