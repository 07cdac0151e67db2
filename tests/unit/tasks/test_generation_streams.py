"""`generate` takes prompts in every form in which `predict` takes texts."""

import datasets
import keras
import numpy as np
import pandas as pd
import pytest

from clozework import models
from clozework.errors import InputError, NoExamplesError
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task
from tests.unit.data.test_tensorflow import DatasetV2
from tests.unit.tasks.tiny_seq2seq import tiny_seq2seq

PROMPTS = ["the quick", "a", "heaven and earth"]


class Batches(keras.utils.PyDataset):
    def __init__(self, batches, num_batches=2):
        super().__init__()
        self.batches = batches
        self.size = num_batches

    @property
    def num_batches(self):
        return self.size

    def __getitem__(self, index):
        return self.batches[index]


@pytest.fixture(scope="module")
def model():
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=1)
    return tiny_task(models.GemmaCausalLM, backbone=backbone)


def bytes_of(*texts):
    return np.array([text.encode() for text in texts], dtype=object)


FORMS = {
    "pandas": lambda: pd.Series(PROMPTS),
    "NumPy": lambda: np.array(PROMPTS),
    "column": lambda: datasets.Dataset.from_dict({"prompt": PROMPTS})["prompt"],
    "generator": lambda: (text for text in PROMPTS),
    "generator of batches": lambda: iter([PROMPTS[:2], PROMPTS[2:]]),
    "examples with labels": lambda: ((text, 1) for text in PROMPTS),
    "PyDataset": lambda: Batches([(PROMPTS[:2], np.array([0, 1])), (PROMPTS[2:], np.array([1]))]),
    "tf.data": lambda: DatasetV2([bytes_of(*PROMPTS[:2]), bytes_of(PROMPTS[2])]),
    "iterable dataset": lambda: datasets.Dataset.from_dict({"text": PROMPTS}).to_iterable_dataset(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_texts_of_a_list(model, form):
    expected = model.generate(PROMPTS, max_length=12)
    assert model.generate(FORMS[form](), max_length=12) == expected


def test_streams_are_read_batch_by_batch(model, monkeypatch):
    events = []

    def prompts():
        for batch in (PROMPTS[:2], PROMPTS[2:]):
            events.append("read")
            yield batch

    generate_step = model.preprocessor.generate_postprocess
    monkeypatch.setattr(
        model.preprocessor,
        "generate_postprocess",
        lambda outputs: (events.append("written"), generate_step(outputs))[1],
    )
    model.generate(prompts(), max_length=12)
    assert events == ["read", "written", "read", "written"]


def test_streams_of_arrays_give_arrays(model):
    bare = models.GemmaCausalLM(model.backbone)
    arrays = model.preprocessor.generate_preprocess(PROMPTS, sequence_length=12)
    expected = bare.generate(arrays, stop_token_ids=[1])
    rows = [{name: values[i : i + 2] for name, values in arrays.items()} for i in (0, 2)]
    found = bare.generate(iter(rows), stop_token_ids=[1])
    is_text = expected["padding_mask"]
    np.testing.assert_array_equal(found["padding_mask"], is_text)
    np.testing.assert_array_equal(found["token_ids"][is_text], expected["token_ids"][is_text])
    rows[1] = {name: values[:, :11] for name, values in rows[1].items()}
    with pytest.raises(InputError, match="rows of 11 and 12 tokens do not make one array"):
        bare.generate(iter(rows), stop_token_ids=[1])


def test_streams_without_an_end_or_without_prompts_are_refused(model):
    with pytest.raises(InputError, match="Batches has no end, so that `generate` would have none"):
        model.generate(Batches([PROMPTS], num_batches=None))
    with pytest.raises(NoExamplesError, match="ends before its first element"):
        model.generate(iter([]))


def test_texts_for_texts_may_begin_with_something():
    model = tiny_seq2seq()
    model.compile(sampler="greedy")
    pairs = {"encoder_text": ["ab cd", "e"], "decoder_text": ["h", "gf"]}
    expected = model.generate(pairs)
    rows = [dict(zip(pairs, row, strict=True)) for row in zip(*pairs.values(), strict=True)]
    assert model.generate(iter(rows)) == expected
    assert model.generate(Batches([pairs, pairs])) == expected * 2
    plain = [{"encoder_text": text} for text in pairs["encoder_text"]]
    assert model.generate(iter(plain)) == model.generate(pairs["encoder_text"])
    with pytest.raises(InputError, match="'encoder_text' is missing"):
        model.generate(iter([{"decoder_text": "a"}]))
