"""Training and use of every task on strings: repeatable, and the same by every way."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import InputError
from tests.contract.families import TEXTS, outputs_of, task_inputs, tiny_task

LABELS = [2, 0, 1]


@pytest.fixture(scope="module")
def masked_lm(masked_lm_cls):
    return tiny_task(masked_lm_cls)


@pytest.fixture(scope="module")
def classifier(classifier_cls):
    return tiny_task(classifier_cls)


def masked_texts(masked_lm):
    """Texts with one and two masks, as the user of that tokenizer writes them."""
    mask = masked_lm.preprocessor.tokenizer.mask_token
    return [f"the {mask} brown fox", f"{mask} and {mask}", f"the lazy {mask}"]


def labels_for(task_cls):
    labels = {
        "TextClassifier": LABELS,
        "TextEmbedder": [[0.5] * 8] * 3,
        "QuestionAnswerer": [(0, 3), (4, 7), (0, 0)],
        "TokenClassifier": [[(4, 9, "COLOR"), (10, 15, "COLOR")], [], [(4, 8, "COLOR")]],
    }
    return labels.get(task_cls.kind)


def examples_for(task_cls, texts):
    """Returns texts as the task takes them."""
    names = task_cls.preprocessor_cls.text_names
    if task_cls.kind == "QuestionAnswerer":
        return [("fox", text[:16]) for text in texts]
    return dict.fromkeys(names, texts) if names else texts


def losses(task_cls, seed):
    keras.utils.set_random_seed(seed)
    task = tiny_task(task_cls)
    labels = labels_for(task_cls)
    texts = examples_for(task_cls, TEXTS * 2)
    history = task.fit(texts, labels and labels * 2, batch_size=3, verbose=0)
    return history.history["loss"], task.get_weights()


def test_the_same_seed_trains_the_same_model(task_cls):
    first, second = losses(task_cls, 5), losses(task_cls, 5)
    assert np.isfinite(first[0]).all()
    assert first[0] == second[0]
    for ours, again in zip(first[1], second[1], strict=True):
        np.testing.assert_array_equal(ours, again)


def test_a_frozen_backbone_stays_while_the_head_learns():
    task = tiny_task(models.RobertaMaskedLM)
    task.backbone.trainable = False
    task.compile(optimizer=keras.optimizers.SGD(0.5))
    backbone_before = task.backbone.get_weights()
    head_before = [keras.ops.convert_to_numpy(v.value) for v in task.head_variables()]
    task.fit(TEXTS, verbose=0)
    for ours, before in zip(task.backbone.get_weights(), backbone_before, strict=True):
        np.testing.assert_array_equal(ours, before)
    head_after = [keras.ops.convert_to_numpy(v.value) for v in task.head_variables()]
    assert any(not np.array_equal(a, b) for a, b in zip(head_after, head_before, strict=True))


def test_training_goes_on_from_a_keras_file(tmp_path):
    task = tiny_task(models.BertTextClassifier)
    task.fit(TEXTS, LABELS, verbose=0)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert int(loaded.optimizer.iterations) == 1
    for ours, stored in zip(loaded.optimizer.variables, task.optimizer.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(stored)
        )


def test_predict_of_masks_is_deterministic(masked_lm):
    texts = masked_texts(masked_lm)
    first = masked_lm.predict(texts, verbose=0)
    assert first.shape == (3, 2, masked_lm.backbone.vocabulary_size)
    np.testing.assert_array_equal(masked_lm.predict(texts, verbose=0), first)


def test_predict_gives_what_the_model_gives_at_the_masks(masked_lm):
    texts = masked_texts(masked_lm)
    arrays = masked_lm.preprocessor.written_masks(texts)
    mask_id = masked_lm.preprocessor.tokenizer.mask_token_id
    assert arrays["token_ids"][1, arrays["mask_positions"][1]].tolist() == [mask_id] * 2
    expected = outputs_of(masked_lm, arrays)["output"]
    predicted = masked_lm.predict(texts, verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    on_batch = masked_lm.predict_on_batch(texts)
    np.testing.assert_allclose(on_batch, expected, rtol=0, atol=1e-5)


def test_fill_gives_the_candidates_of_predict(masked_lm):
    texts = masked_texts(masked_lm)
    logits = masked_lm.predict(texts, verbose=0)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = weights / weights.sum(axis=-1, keepdims=True)
    filled = masked_lm.fill(texts, top_k=4)
    assert [len(text.masks) for text in filled] == [1, 2, 1]
    for i, text in enumerate(filled):
        for j, mask in enumerate(text.masks):
            assert texts[i][mask.start : mask.end] == masked_lm.preprocessor.tokenizer.mask_token
            ids = [candidate.token_id for candidate in mask.candidates]
            assert ids == np.argsort(-logits[i, j], kind="stable")[:4].tolist()
            given = [candidate.probability for candidate in mask.candidates]
            np.testing.assert_allclose(given, probabilities[i, j, ids], rtol=1e-4)


def test_fill_of_one_text_is_that_of_a_batch(masked_lm):
    texts = masked_texts(masked_lm)
    for one, of_batch in zip(map(masked_lm.fill, texts), masked_lm.fill(texts), strict=True):
        assert one.text == of_batch.text
        tokens = [[c.token_id for c in mask.candidates] for mask in one.masks]
        assert tokens == [[c.token_id for c in mask.candidates] for mask in of_batch.masks]


def test_a_text_without_a_mask_is_named(masked_lm):
    for use in (masked_lm.fill, masked_lm.predict, masked_lm.predict_on_batch):
        with pytest.raises(InputError, match=r"Text 1 has no mask to fill: 'the fox'\. Write"):
            use([masked_texts(masked_lm)[0], "the fox"])


def test_strings_and_preprocessed_inputs_give_the_same(classifier, monkeypatch):
    # The same rows, to the last digit; of texts that share rows see `test_packed_rows.py`.
    monkeypatch.setattr(models.Task, "packs_texts", False)
    arrays = classifier.preprocessor(TEXTS)
    predicted = classifier.predict(TEXTS, verbose=0)
    assert predicted.shape == (3, 3)
    bare = type(classifier)(classifier.backbone, 3, preprocessor=None)
    bare.set_weights(classifier.get_weights())
    np.testing.assert_allclose(bare.predict(arrays, verbose=0), predicted, rtol=0, atol=1e-5)
    on_strings = classifier.evaluate(TEXTS, LABELS, verbose=0)
    np.testing.assert_allclose(bare.evaluate(arrays, np.array(LABELS), verbose=0), on_strings)


def test_a_preprocessor_set_to_none_switches_preprocessing_off(classifier_cls):
    classifier = tiny_task(classifier_cls)
    arrays = classifier.preprocessor(TEXTS)
    expected = classifier.predict_on_batch(TEXTS)
    classifier.preprocessor = None
    np.testing.assert_allclose(classifier.predict_on_batch(arrays), expected, rtol=0, atol=1e-5)


def test_pairs_are_two_segments_of_one_row(classifier):
    firsts, seconds = ["the fox", "heaven"], ["a dog", "the earth"]
    as_tuple = classifier.predict((firsts, seconds), verbose=0)
    as_list = classifier.predict(list(zip(firsts, seconds, strict=True)), verbose=0)
    np.testing.assert_array_equal(as_tuple, as_list)
    assert as_tuple.shape == (2, 3)
    alone = classifier.predict(firsts, verbose=0)
    assert np.abs(as_tuple - alone).max() > 1e-4


def test_names_of_classes_are_learnt_and_kept():
    classifier = tiny_task(models.BertTextClassifier)
    classifier.fit(TEXTS, ["so so", "bad", "good"], verbose=0)
    assert classifier.label_names == ["bad", "good", "so so"]
    with pytest.raises(InputError, match="'new' are not among the model's"):
        classifier.evaluate(TEXTS, ["bad", "new", "good"], verbose=0)


def test_masked_positions_that_repeat_give_equal_rows(masked_lm_cls, masked_lm):
    outputs = outputs_of(masked_lm, task_inputs(masked_lm_cls))["output"]
    np.testing.assert_array_equal(outputs[1, 0], outputs[1, 1])
