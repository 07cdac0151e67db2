"""Steps of packed texts: in the order of the examples, and ahead of a device that is slow."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import InputError
from clozework.tasks import packed_texts, task
from tests.unit.tasks.tiny_models import tiny_classifier

WORDS = ["a", "b", "c", "heaven", "earth"]


@pytest.fixture
def texts():
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(1, 12))) for _ in range(40)]


@pytest.fixture
def classifier():
    return tiny_classifier()


@pytest.fixture
def small_steps(monkeypatch):
    """Few tokens a step, and few texts that are planned together."""
    monkeypatch.setattr(packed_texts, "tokens_at_once", lambda: 32)
    for module in (packed_texts, task):
        monkeypatch.setattr(module, "TEXTS_AT_ONCE", 8)


def rows_of_steps(classifier, monkeypatch):
    """Returns a list that gets the number of rows of each step."""
    rows = []
    start = classifier.start_packed
    monkeypatch.setattr(
        classifier, "start_packed", lambda x: rows.append(len(x["token_ids"])) or start(x)
    )
    return rows


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("has_accelerator", [False, True])
def test_outputs_are_in_the_order_of_the_texts(classifier, texts, monkeypatch, has_accelerator):
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: has_accelerator)
    alone = np.concatenate([classifier.predict([text], verbose=0) for text in texts])

    np.testing.assert_allclose(classifier.predict(texts, verbose=0), alone, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("has_accelerator", [False, True])
def test_an_accelerator_has_the_next_two_steps_before_one_is_waited_for(
    classifier, texts, monkeypatch, has_accelerator
):
    events = []
    start = classifier.start_packed
    wait = keras.ops.convert_to_numpy
    ops = SimpleNamespace(**vars(keras.ops))
    ops.convert_to_numpy = lambda x: events.append("wait") or wait(x)
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: has_accelerator)
    monkeypatch.setattr(classifier, "start_packed", lambda x: events.append("start") or start(x))
    monkeypatch.setattr(packed_texts, "ops", ops)

    classifier.predict(texts, verbose=0)

    num_ahead = [events[:i].count("start") - events[:i].count("wait") for i in range(len(events))]
    assert events.count("start") == events.count("wait") > 5
    assert max(num_ahead) == (3 if has_accelerator else 1)


@pytest.mark.parametrize("tokens_at_once", [64, 256])
def test_only_the_last_steps_have_rows_without_texts(
    classifier, texts, monkeypatch, tokens_at_once
):
    """However few texts are read at once."""
    monkeypatch.setattr(packed_texts, "tokens_at_once", lambda: tokens_at_once)
    for module in (packed_texts, task):
        monkeypatch.setattr(module, "TEXTS_AT_ONCE", 4)
    full = []
    start = classifier.start_packed

    def noted(inputs):
        full.append(inputs["padding_mask"].any(axis=1).sum() == tokens_at_once // 16)
        return start(inputs)

    monkeypatch.setattr(classifier, "start_packed", noted)
    outputs = classifier.predict(texts, verbose=0)

    num_tokens = classifier.preprocessor(texts)["padding_mask"].sum()
    assert full[:-1] == [True] * (len(full) - 1)
    assert len(full) <= 1.2 * num_tokens / tokens_at_once + 1
    monkeypatch.undo()
    np.testing.assert_allclose(outputs, classifier.predict(texts, verbose=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("has_accelerator", "num_open_axes", "expected"),
    [(True, 0, [4, 4]), (False, 0, [4, 1]), (True, 1, [4, 1])],
)
def test_the_last_step_for_an_accelerator_has_a_shape_that_is_compiled(
    classifier, monkeypatch, has_accelerator, num_open_axes, expected
):
    monkeypatch.setattr(packed_texts, "tokens_at_once", lambda: 64)
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: has_accelerator)
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: num_open_axes)
    rows = rows_of_steps(classifier, monkeypatch)
    # Five rows of 16 tokens, which are as long as the model reads.
    texts = ["a b c " * 4] * 5
    outputs = classifier.predict(texts, verbose=0)

    assert rows == expected
    alone = classifier.predict(texts[:1], verbose=0)
    np.testing.assert_allclose(outputs, np.repeat(alone, 5, axis=0), rtol=0, atol=1e-5)


def test_a_batch_size_limits_what_is_computed_at_once(classifier, texts, monkeypatch):
    monkeypatch.setattr(packed_texts, "tokens_at_once", lambda: 4096)
    start = classifier.start_packed
    shapes = set()

    def noted(inputs):
        shapes.add(inputs["token_ids"].size)
        return start(inputs)

    monkeypatch.setattr(classifier, "start_packed", noted)
    classifier.predict(texts, batch_size=2, verbose=0)

    assert max(shapes) <= 2 * 16


def shapes_of_last_block(task, monkeypatch):
    """Returns a list that gets the shape of whatever the last block's feed-forward network sees."""
    shapes = []
    block = task.backbone.last_block
    feed_forward = block.feed_forward
    monkeypatch.setattr(
        block,
        "feed_forward",
        lambda x, training: shapes.append(x.shape) or feed_forward(x, training),
    )
    return shapes


def test_the_last_block_computes_the_tokens_that_the_head_reads(classifier, texts, monkeypatch):
    shapes = shapes_of_last_block(classifier, monkeypatch)
    [step] = packed_texts.plan_steps([4, 7, 5], tokens_per_step=64)
    arrays = classifier.preprocessor(["a b", "a b c heaven earth", "a b c"])

    classifier(step.pack(arrays))
    classifier(packed_texts.packed_batch(classifier, arrays).pack(arrays))

    hidden_dim = classifier.backbone.hidden_dim
    # A row with its slots, and the three texts of a batch, however many rows they lie in.
    assert shapes == [(1, 4, hidden_dim), (1, 3, hidden_dim)]


def test_the_last_block_computes_all_tokens_where_most_are_read(classifier, monkeypatch):
    shapes = shapes_of_last_block(classifier, monkeypatch)
    arrays = classifier.preprocessor(["a"] * 9)
    batch = packed_texts.plan_batch([3] * 9, longest_text=16, longest_row=16)

    classifier(batch.pack(arrays))

    assert shapes == [(batch.num_rows, 16, classifier.backbone.hidden_dim)]


def test_only_a_block_that_is_called_once_and_can_compute_some_tokens_is_the_last():
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    bert = models.BertBackbone(9, **sizes)
    assert bert.last_block is bert.transformer_layers[-1]
    # ALBERT's only block is called again and again, and BART's last one is a decoder's.
    assert models.AlbertBackbone(9, embedding_dim=8, **sizes).last_block is None
    assert models.BartBackbone(9, **sizes).last_block is None


@pytest.fixture
def plans(monkeypatch):
    """The lengths that were known when each batch was planned; all shapes have to be compiled."""
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: 0)
    known = []
    plan = packed_texts.plan_batch

    def noted(lengths, *, usual_lengths, **options):
        known.append(usual_lengths)
        return plan(lengths, usual_lengths=usual_lengths, **options)

    monkeypatch.setattr(packed_texts, "plan_batch", noted)
    return known


@pytest.mark.parametrize("is_pair", [False, True])
def test_batches_are_planned_for_the_lengths_of_all_texts(classifier, texts, plans, is_pair):
    x = (texts, ["a"] * len(texts)) if is_pair else texts
    labels = np.arange(len(texts)) % 2
    expected = tuple(classifier.preprocessor(x)["padding_mask"].sum(axis=1).tolist())
    classifier.fit(x, labels, batch_size=16, verbose=0)
    assert set(plans) == {expected}
    del plans[:]
    classifier.evaluate(x, labels, batch_size=16, verbose=0)
    assert set(plans) == {expected}
    assert classifier.usual_lengths == ()


def test_batches_to_validate_with_are_planned_for_their_own_lengths(classifier, texts, plans):
    labels = np.arange(len(texts)) % 2
    lengths = classifier.preprocessor(texts)["padding_mask"].sum(axis=1).tolist()
    validation = (texts[:30], labels[:30])
    classifier.fit(texts[30:], labels[30:], epochs=2, validation_data=validation, verbose=0)
    assert set(plans) == {tuple(lengths[30:]), tuple(lengths[:30])}
    assert plans[-1] == tuple(lengths[:30])


def test_of_many_texts_some_from_everywhere_are_measured(classifier, texts, plans, monkeypatch):
    monkeypatch.setattr(packed_texts, "_MOST_MEASURED", 4)
    classifier.fit(texts, np.arange(len(texts)) % 2, verbose=0)
    expected = classifier.preprocessor(texts[::10])["padding_mask"].sum(axis=1)
    assert set(plans) == {tuple(expected.tolist())}


def test_of_streams_and_where_shapes_say_little_no_lengths_are_known(
    classifier, texts, plans, monkeypatch
):
    class OneBatch(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return texts, labels

    labels = np.arange(len(texts)) % 2
    classifier.fit(zip(texts, labels.tolist(), strict=True), verbose=0)
    classifier.fit(OneBatch(), verbose=0)
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: 1)
    classifier.fit(texts, labels, verbose=0)
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: 0)
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: True)
    classifier.fit(texts, labels, verbose=0)
    assert set(plans) == {()}


def test_lengths_are_those_of_the_data_at_hand(classifier, texts, plans):
    class Evaluation(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            classifier.evaluate(["a"], [0], verbose=0)

    classifier.fit(texts, np.arange(len(texts)) % 2, epochs=2, verbose=0, callbacks=[Evaluation()])
    assert {len(lengths) for lengths in plans} == {1, len(texts)}
    assert len(plans[-1]) == len(texts)
    # Also after an error.
    with pytest.raises(InputError, match="class"):
        classifier.evaluate(texts, [7] * len(texts), verbose=0)
    assert classifier.usual_lengths == ()


@pytest.mark.parametrize(("num_open_axes", "expected"), [(0, 16), (1, 10), (2, 10)])
def test_steps_have_any_number_of_rows_where_none_is_compiled(
    classifier, monkeypatch, num_open_axes, expected
):
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: num_open_axes)
    rows = rows_of_steps(classifier, monkeypatch)
    # Ten rows of 16 tokens, which are as long as the model reads.
    texts = ["a b c " * 4] * 10
    outputs = classifier.predict(texts, verbose=0)

    assert rows == [expected]
    alone = classifier.predict(texts[:1], verbose=0)
    np.testing.assert_allclose(outputs, np.repeat(alone, 10, axis=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_open_axes", [0, 1, 2])
def test_batches_have_rows_of_any_length_where_none_is_compiled(monkeypatch, num_open_axes):
    monkeypatch.setattr(packed_texts, "num_open_axes", lambda: num_open_axes)
    task = SimpleNamespace(backbone=SimpleNamespace(longest_row=512), usual_lengths=())
    shapes = []
    for length in (20, 90, 140, 300):
        mask = np.arange(512) < np.full((16, 1), length)
        batch = packed_texts.packed_batch(task, {"padding_mask": mask})
        shapes.append((batch.num_rows, batch.row_length))
    # Rows as long as texts, any number of the longest ones, or what serves any texts.
    expected = {
        2: [(1, 320), (16, 96), (8, 320), (16, 320)],
        1: [(1, 512), (4, 512), (6, 512), (16, 512)],
    }
    if num_open_axes:
        assert shapes == expected[num_open_axes]
    else:
        assert {length for _, length in shapes} == {256, 512}
