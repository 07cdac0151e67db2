"""`quantize` with a sample: compared, printed, and taken back where the answers change."""

import re

import numpy as np
import pytest

from clozework.errors import AgreementError, InputError
from tests.contract.families import TASKS, tiny_task

TEXTS = ["the quick brown fox", "heaven and earth", "the earth", "a fox and the heaven"]


def classifier(**kwargs):
    return tiny_task(TASKS["BertTextClassifier"], **kwargs)


def spoiled(task, monkeypatch):
    """Makes `quantize` give weights that answer otherwise."""
    plain = task._quantize

    def quantize(mode, options):
        plain(mode, options)
        task.output_dense.bias.assign(np.array([100.0, 0.0, 0.0]))

    monkeypatch.setattr(task, "_quantize", quantize)
    return task


def test_the_figures_are_printed(capsys):
    task = classifier()
    task.quantize("int8", sample=(TEXTS, [0, 1, 0, 1]), minimum_agreement=0.5)
    line = r"[0-9.]+% of 4 answers as before; loss [0-9.]+ before, [0-9.]+ after; .*accuracy .*\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert {str(v.dtype) for v in task.weights} >= {"int8"}
    assert task.backbone.quantized_policies


def test_a_model_that_answers_otherwise_is_left_as_it_was(monkeypatch):
    task = spoiled(classifier(), monkeypatch)
    task.output_dense.bias.assign(np.array([0.0, 100.0, 0.0]))
    task.fit(TEXTS, [0, 1, 0, 1], verbose=0)
    variables, outputs = list(task.trainable_variables), task.predict(TEXTS, verbose=0)
    bias = np.array(task.output_dense.bias)
    with pytest.raises(AgreementError, match=r"it gives 0.00% of 4 answers .* minimum_agreement="):
        task.quantize("int8", sample=TEXTS)
    # What the test itself spoiled.
    task.output_dense.bias.assign(bias)
    assert [id(v) for v in task.trainable_variables] == [id(v) for v in variables]
    assert not task.backbone.quantized_policies
    np.testing.assert_array_equal(task.predict(TEXTS, verbose=0), outputs)
    task.fit(TEXTS, [0, 1, 0, 1], verbose=0)
    task.quantize("float8")


ANSWERS = {
    "BertMaskedLM": (["the [MASK] fox", "[MASK] and [MASK]"], 3),
    "BertTextEmbedder": (TEXTS, 4),
    "BertQuestionAnswerer": ((["the fox"] * 2, ["the quick fox", "a fox"]), 2),
    "GemmaCausalLM": (TEXTS, None),
    "BartSeq2SeqLM": ({"encoder_text": TEXTS, "decoder_text": TEXTS}, None),
    "BertTokenClassifier": (TEXTS, None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_task_has_answers_to_compare(name):
    sample, count = ANSWERS[name]
    answers = tiny_task(TASKS[name]).answers_to(sample)
    assert len(answers) == count if count else len(answers) > len(TEXTS)


def test_what_cannot_be_compared_is_refused():
    numbers = classifier(num_classes=1, problem_type="regression")
    with pytest.raises(InputError, match="compared by its classes, but this model gives numbers"):
        numbers.quantize("int8", sample=TEXTS)
    embedder = tiny_task(TASKS["BertTextEmbedder"])
    with pytest.raises(InputError, match="`sample` has no answers to compare. Pass more examples"):
        embedder.quantize("int8", sample=["one text"])
    assert {str(v.dtype) for v in embedder.weights} == {"float32"}
