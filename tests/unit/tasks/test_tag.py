"""What `TokenClassifier` adds to a task."""

import keras
import numpy as np
import pytest
import torch

from clozework import models
from clozework.errors import ConfigError, InputError
from clozework.tasks import Entity
from tests.contract.families import (
    FAMILIES,
    TASKS,
    TEXTS,
    task_inputs,
    task_labels,
    tiny_backbone,
    tiny_task,
)
from tests.nasty_texts import nasty_texts

NAMES = ["O", "B-PER", "I-PER"]
WORDS = [text.split() for text in TEXTS]
TAGS = [["B-PER", "O", "O", "I-PER"], ["O"] * 3, ["B-PER"] * 7]
SPANS = [[(4, 9, "PER"), (10, 19, "PER")], [], [(4, 8, "PER")]]


@pytest.fixture(scope="module")
def tagger():
    """Shared by tests that leave it as it was."""
    return tiny_task(models.BertTokenClassifier, label_names=NAMES, dropout=0.0)


@pytest.fixture(scope="module")
def labeller():
    """The same, with labels that leave no word out."""
    return tiny_task(models.BertTokenClassifier, label_names=["X", "Y", "Z"], dropout=0.0)


def fresh(**options):
    return tiny_task(models.BertTokenClassifier, dropout=0.0, **options)


def probabilities(tagger, text):
    logits = tagger.predict([text], verbose=0)[0]
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_a_string_gives_entities_and_a_list_lists(labeller):
    tagged = labeller.tag(TEXTS, aggregation="words")
    assert [len(entities) for entities in tagged] == [4, 3, 7]
    for text, entities in zip(TEXTS, tagged, strict=True):
        assert all(text[e.start : e.end] == e.text for e in entities)
        alone = labeller.tag(text, aggregation="words")
        assert [e.text for e in alone] == [e.text for e in entities]
    assert labeller.tag([]) == []
    assert labeller.tag(["", TEXTS[0]])[0] == []


def test_scores_are_probabilities_and_the_threshold_is_their_least(labeller):
    expected = probabilities(labeller, TEXTS[0])[1:5]
    entities = labeller.tag(TEXTS[0], aggregation="words")
    scores = [expected[TEXTS[0][: e.start].count(" ")].max() for e in entities]
    np.testing.assert_allclose([e.score for e in entities], scores, rtol=1e-5)
    highest = max(e.score for e in entities)
    assert [e.score for e in labeller.tag(TEXTS[0], highest, aggregation="words")] == [highest]


def test_lists_of_words_are_tagged_as_the_words_joined(labeller):
    assert labeller.tag(WORDS) == labeller.tag(TEXTS)
    # Here "foxs." is one word, and there two.
    ((whole,),) = labeller.tag([["foxs."]], aggregation="words")
    assert (whole.start, whole.end) == (0, 5)
    assert len(labeller.tag("foxs.", aggregation="words")) > 1


def test_outputs_without_logits_are_taken_as_probabilities(tagger):
    other = models.BertTokenClassifier(
        tagger.backbone, 3, tagger.preprocessor, "softmax", label_names=NAMES
    )
    other.set_weights(tagger.get_weights())
    for ours, theirs in zip(other.tag(TEXTS[0]), tagger.tag(TEXTS[0]), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-6)


def test_long_texts_are_tagged_to_their_end(labeller):
    tagger = labeller
    long = " ".join(TEXTS * 5)
    entities = tagger.tag(long, aggregation="words", batch_size=2)
    assert entities[-1].end > len(long) - 40
    assert all(long[e.start : e.end] == e.text for e in entities)
    # A text that fits into a row is one window, whatever the overlap.
    assert tagger.tag(TEXTS[0], overlap=0) == tagger.tag(TEXTS[0])
    # Two windows without overlap are two texts.
    parts = [" ".join(long.split()[i : i + 14]) for i in (0, 14)]
    whole = tagger.tag(" ".join(parts), overlap=0, aggregation="words")
    assert [e.text for e in whole] == [
        e.text for part in tagger.tag(parts, aggregation="words") for e in part
    ]


@pytest.mark.parametrize("name", ["Bert", "Roberta", "XLMRoberta", "FNet"])
def test_nasty_texts_are_tagged_whole(name):
    task = tiny_task(getattr(models, f"{name}TokenClassifier"))
    texts = nasty_texts(60)
    for text, entities in zip(texts, task.tag(texts, aggregation="simple"), strict=True):
        assert all(text[e.start : e.end] == e.text for e in entities)


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        (("a", "b"), {}, InputError, "is .*, several texts; a token classifier takes one"),
        ("a", {"aggregation": "max"}, InputError, "must be one of 'first', 'simple', 'words'"),
        ("a", {"overlap": 14}, ConfigError, "Windows of 14 tokens cannot overlap by 14"),
        (5, {}, InputError, "which holds no texts"),
        ("a", {"threshold": "0.5"}, InputError, "`threshold` must be a number .* Received: '0.5'"),
        ("a", {"batch_size": 0}, InputError, "`batch_size` must be a whole number"),
    ],
)
def test_what_cannot_be_tagged_is_refused(tagger, texts, options, error, message):
    with pytest.raises(error, match=message):
        tagger.tag(texts, **options)


def test_tagging_needs_a_preprocessor(tagger):
    bare = models.BertTokenClassifier(tagger.backbone, 3, None)
    with pytest.raises(InputError, match="`tag` needs a preprocessor"):
        bare.tag("a")
    with pytest.raises(InputError, match="`tag_words` needs a preprocessor"):
        bare.tag_words([["a"]])


def test_each_word_has_the_tag_of_its_first_token(labeller):
    tagged = labeller.tag_words([*WORDS, ["foxs.", "\u200b", "the"]])
    assert [len(tags) for tags in tagged] == [*map(len, WORDS), 3]
    for words, tags in zip(WORDS, tagged[:-1], strict=True):
        found = labeller.tag([words], aggregation="words")[0]
        assert tags == [entity.label for entity in found]
    # Of the second word nothing is left.
    assert tagged[-1][1] == "O"
    assert labeller.tag_words([]) == []


def test_words_are_tagged_in_lists_alone(tagger):
    with pytest.raises(InputError, match="takes a list of lists of words"):
        tagger.tag_words("the fox")


def test_the_first_token_of_a_word_is_trained_on_and_no_other(tagger):
    words = [["foxs", "."], ["the"]]
    texts, tags = tagger.prepare_examples(words, [["I-PER", "B-PER"], ["O"]])
    x, y, weights = tagger._training_batch(texts, tags, None)
    # Both texts in one row.
    assert weights[:, :10].tolist() == [[0, 1, 0, 1, 0, 0, 1, 0, 0, 0]]
    assert y[0, :4].tolist() == [0, 2, 0, 1]
    assert x["token_ids"].shape == y.shape == weights.shape


def test_tags_may_be_names_numbers_or_spans(tagger):
    numbers = [[NAMES.index(tag) for tag in tags] for tags in TAGS]
    expected = tagger.evaluate(WORDS, TAGS, verbose=0)
    assert tagger.evaluate(WORDS, numbers, verbose=0) == expected
    assert tagger.evaluate([np.array(words) for words in WORDS], numbers, verbose=0) == expected
    tags = [["O", "B-PER", "B-PER", "I-PER"], ["O"] * 3, ["O", "B-PER", *["O"] * 5]]
    expected = tagger.evaluate(WORDS, tags, verbose=0)
    assert tagger.evaluate(TEXTS, SPANS, verbose=0) == pytest.approx(expected, abs=1e-6)
    dicts = [[dict(zip(("start", "end", "label"), s, strict=True)) for s in row] for row in SPANS]
    entities = [[Entity("", s["label"], s["start"], s["end"], 1.0) for s in row] for row in dicts]
    for spans in (dicts, entities):
        assert tagger.evaluate(TEXTS, spans, verbose=0) == pytest.approx(expected, abs=1e-6)
    rows = iter(list(zip(TEXTS, SPANS, strict=True)))
    assert tagger.evaluate(rows, verbose=0) == pytest.approx(expected, abs=1e-6)


def test_words_that_are_ignored_count_neither_in_loss_nor_in_accuracy(tagger):
    expected = tagger.evaluate([["the", "fox"]], [["O", "B-PER"]], verbose=0)
    ignored = tagger.evaluate([["the", "fox", "and"]], [[0, 1, -100]], verbose=0)
    logits = tagger.predict(["the fox and"], verbose=0)[0, 1:3]
    loss = np.log(np.exp(logits).sum(axis=-1)) - logits[[0, 1], [0, 1]]
    assert ignored[0] == pytest.approx(loss.mean(), rel=1e-5)
    assert expected[1] in (0.0, 0.5, 1.0)


def test_arrays_are_weighted_by_the_padding_mask_and_the_callers_weights(tagger):
    bare = models.BertTokenClassifier(tagger.backbone, 3, None, dropout=0.0)
    bare.set_weights(tagger.get_weights())
    x = tagger.preprocessor(["the fox", "the"])
    labels = np.full((2, 16), 1)
    logits = bare.predict(x, verbose=0)
    loss = np.log(np.exp(logits).sum(axis=-1)) - logits[..., 1]
    mask = x["padding_mask"].astype("float32")
    expected = (loss * mask).sum() / mask.sum()
    assert bare.evaluate(x, labels, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    ignored = np.where(mask > 0, labels, -100)
    assert bare.evaluate(x, ignored, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    for weight in (np.array([1.0, 0.0]), np.array([[1.0], [0.0]]) * np.ones((1, 16))):
        expected = (loss * mask)[0].sum() / mask[0].sum()
        got = bare.evaluate(x, labels, sample_weight=weight, verbose=0)[0]
        assert got == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match=r"have the shape \(2, 5\), but 'token_ids' \(2, 16\)"):
        bare.fit(x, labels[:, :5], verbose=0)


@pytest.mark.parametrize(
    ("num_classes", "expected"), [(3, ["O", "B-PER", "I-PER"]), (2, ["O", "PER"])]
)
def test_names_of_spans_are_learnt_with_and_without_prefixes(num_classes, expected):
    task = fresh(num_classes=num_classes)
    task.fit(TEXTS, SPANS, validation_split=0.3, verbose=0)
    assert task.label_names == expected
    assert {e.label for text in task.tag(TEXTS) for e in text} <= {"PER"}


def test_names_of_tags_are_learnt_with_the_one_of_nothing_first():
    task = fresh()
    task.fit(WORDS, TAGS, validation_data=(WORDS, TAGS), verbose=0)
    assert task.label_names == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (TEXTS, [[(0, 3, x)] for x in "ABC"], r"3 different labels .*num_classes=7 .* or num_cl"),
        (WORDS, [["A"] * 4, ["B"] * 3, ["A"] * 7], r"2 different labels .*Make it with num_clas"),
        (WORDS, [[0] * 4, [3] * 3, [0] * 7], "go from 0 to 3, but num_classes=3"),
        (TEXTS, ["O", "O", "O"], "must be spans"),
        (TEXTS, [[], None, []], r"y\[1\] is None, but the labels of a text are a list of spans"),
        (
            TEXTS,
            [[], [{"start": 1}], []],
            r"y\[1\] holds .*, but spans that are dicts need 'start'",
        ),
        (TEXTS, None, "Training a token classifier needs labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_training(x, y, message):
    task = fresh()
    with pytest.raises(InputError, match=message):
        task.fit(x, y, batch_size=1, verbose=0)
    assert task.optimizer.iterations == 0


def test_unknown_names_are_refused(tagger):
    with pytest.raises(InputError, match="Labels 'B-LOC' are not among the model's"):
        tagger.evaluate([["a"]], [["B-LOC"]], verbose=0)
    with pytest.raises(InputError, match="does not know which class each is"):
        fresh().evaluate([["a"]], [["B-LOC"]], verbose=0)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_names_and_tags_survive_in_every_format(tagger, tmp_path):
    expected = tagger.tag(TEXTS)
    tagger.save_to_preset(tmp_path / "preset")
    tagger.export_to_transformers(tmp_path / "exported")
    tagger.save(tmp_path / "task.keras")
    for loaded in (
        models.TokenClassifier.from_preset(tmp_path / "preset"),
        models.TokenClassifier.from_preset(tmp_path / "exported"),
        keras.saving.load_model(tmp_path / "task.keras"),
    ):
        assert loaded.label_names == NAMES
        for ours, theirs in zip(loaded.tag(TEXTS), expected, strict=True):
            assert [(e.start, e.end, e.label) for e in ours] == [
                (e.start, e.end, e.label) for e in theirs
            ]


def test_a_classifier_of_texts_gives_no_head_for_tokens(tmp_path):
    tiny_task(models.BertTextClassifier).export_to_transformers(tmp_path / "exported")
    with pytest.raises(ConfigError, match="needs `num_classes`"):
        models.TokenClassifier.from_preset(tmp_path / "exported")
    with pytest.warns(UserWarning, match="has no head for BertTokenClassifier; it is random"):
        models.TokenClassifier.from_preset(tmp_path / "exported", num_classes=3)


def test_a_cut_text_is_trained_on_as_far_as_it_goes():
    task = fresh(label_names=NAMES)
    words = [["the", "fox"] * 12]
    with pytest.warns(UserWarning, match="1 of 1 texts have more than 16 tokens"):
        _, _, weights = task._training_batch(*task.prepare_examples(words, [["O", "O"] * 12]), None)
    assert weights.tolist() == [[0.0, *[1.0] * 14, 0.0]]


def without_dropout():
    backbone = tiny_backbone(FAMILIES["bert"], dropout=0.0)
    return tiny_task(models.BertTokenClassifier, backbone=backbone, label_names=NAMES, dropout=0.0)


def first_loss(labels, **options):
    tagger = without_dropout()
    x, y = (WORDS, labels) if isinstance(labels[0][0], str) else (TEXTS, labels)
    history = tagger.fit(x, y, shuffle=False, verbose=0, **options)
    return history.history["loss"][0]


def test_class_weights_are_those_of_torch_for_each_tag():
    tagger = without_dropout()
    numbers = [NAMES.index(tag) for row in TAGS for tag in row]
    logits = tagger.predict(TEXTS, verbose=0)
    tokens = [values[1 : 1 + len(row)] for values, row in zip(logits, TAGS, strict=True)]
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(np.concatenate(tokens)),
        torch.tensor(numbers),
        weight=torch.tensor([0.25, 3.0, 1.0]),
    )
    by_name = first_loss(TAGS, class_weight={"O": 0.25, "B-PER": 3.0})
    assert by_name == pytest.approx(float(expected), abs=1e-5)
    assert first_loss(TAGS, class_weight={0: 0.25, np.int64(1): 3.0}) == by_name
    assert first_loss(TAGS) != pytest.approx(by_name, abs=1e-3)


def test_class_weights_multiply_the_weights_of_texts():
    # The first text's one tag alone counts, whatever its weight.
    options = {"sample_weight": [1.0, 0.0, 0.0]}
    spans = [[(4, 9, "PER")], [], []]
    both = first_loss(spans, class_weight={"O": 0.0}, **options)
    assert both == first_loss(spans, class_weight={"O": 0.0, "B-PER": 5.0}, **options)
    assert both != first_loss(spans, **options)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"PER": 1.0}, "weights for 'PER', but the classes are 'O', 'B-PER', 'I-PER'"),
        ([1.0], r"`class_weight` must be a dict, .* Received: \[1.0\]"),
    ],
)
def test_class_weights_of_no_tag_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        first_loss(TAGS, class_weight=weights)


@pytest.mark.parametrize("name", ["BertMaskedLM", "BertQuestionAnswerer", "GemmaCausalLM"])
def test_class_weights_are_refused_where_there_are_no_classes(name):
    task = tiny_task(TASKS[name])
    inputs, labels = task_inputs(TASKS[name]), task_labels(TASKS[name])
    task.preprocessor = None
    with pytest.raises(InputError, match=f"but the labels of {name} are no classes. Leave it"):
        task.fit(inputs, labels, class_weight={0: 2.0}, verbose=0)
