"""What a `TextClassifier` says of texts: classes, several of them, numbers, ranks."""

import json

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from clozework.tasks.calibration import best_temperature
from clozework.tasks.numbers import softmax
from tests.contract.families import TASKS, TEXTS, tiny_task
from tests.unit.tasks.tiny_models import tiny_classifier

NAMES = ["calm", "rain", "storm"]
SHORT = ["a b", "b c", "heaven", "earth a"]
SETS = [["calm"], ["rain", "storm"], [], ["storm"]]
MULTI_HOT = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]
MULTI = "multi_label_classification"


@pytest.fixture(scope="module")
def classifier():
    """Shared by tests that leave it as it was."""
    return tiny_classifier(3, label_names=NAMES)


@pytest.fixture(scope="module")
def multi():
    """The same, of texts with several classes."""
    return tiny_classifier(3, label_names=NAMES, problem_type=MULTI)


def test_classes_come_best_first_with_probabilities(classifier):
    expected = softmax(classifier.predict(SHORT, verbose=0))
    for labels, probabilities in zip(classifier.classify(SHORT), expected, strict=True):
        assert [NAMES.index(one.label) for one in labels] == np.argsort(-probabilities).tolist()
        given = [one.probability for one in labels]
        np.testing.assert_allclose(given, -np.sort(-probabilities), rtol=1e-5)
    (best,) = classifier.classify(SHORT[0], top_k=1)
    assert best.label == NAMES[expected[0].argmax()]
    assert all(one.probability >= 0.3 for one in classifier.classify(SHORT[0], threshold=0.3))
    assert classifier.classify(("a", "b"))[0].label in NAMES
    assert classifier.classify([]) == []


def test_several_classes_are_decided_each_by_itself(multi):
    expected = 1 / (1 + np.exp(-multi.predict(SHORT, verbose=0)))
    for labels, probabilities in zip(multi.classify(SHORT), expected, strict=True):
        assert {one.label for one in labels} == {
            name for name, p in zip(NAMES, probabilities, strict=True) if p >= 0.5
        }
    assert len(multi.classify(SHORT[0], threshold=0.0)) == 3


def test_outputs_that_are_no_logits_are_taken_as_they_are(classifier):
    other = tiny_classifier(3, activation="softmax", label_names=NAMES)
    other.set_weights(classifier.get_weights())
    ours, theirs = other.classify(SHORT[0]), classifier.classify(SHORT[0])
    assert [one.label for one in ours] == [one.label for one in theirs]
    assert ours[0].probability == pytest.approx(theirs[0].probability, rel=1e-5)


def test_a_long_text_is_cut_with_a_warning_or_read_in_chunks():
    classifier = tiny_classifier(3, label_names=NAMES)
    long = "a b c earth " * 10
    with pytest.warns(ClozeworkWarning, match="1 of 1 texts have more than 16 tokens"):
        cut = classifier.classify(long)
    assert cut == classifier.classify("a b c earth " * 3 + "a b")
    words = long.split()
    starts = range(0, 40, 11)
    parts = [" ".join(words[start : start + 14]) for start in starts if start + 3 < 40]
    expected = softmax(classifier.predict(parts, verbose=0)).mean(axis=0)
    chunks = {one.label: one.probability for one in classifier.classify(long, long_texts="chunk")}
    np.testing.assert_allclose([chunks[name] for name in NAMES], expected, rtol=1e-4)
    both = classifier.classify(["a", "", long], long_texts="chunk")
    assert both[0][0].probability == pytest.approx(classifier.classify("a")[0].probability)
    assert len(both[1]) == 3


def test_of_several_classes_the_highest_chunk_counts(multi):
    parts = ["heaven " * 14, "earth " * 14]
    expected = 1 / (1 + np.exp(-multi.predict([p.strip() for p in parts], verbose=0)))
    mixed = multi.classify("heaven " * 14 + "earth " * 25, threshold=0.0, long_texts="chunk")
    assert all(one.probability >= expected[:, NAMES.index(one.label)].max() - 1e-5 for one in mixed)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda c: c.classify("a", long_texts="no"), "must be one of 'cut', 'chunk'. Received: 'n"),
        (lambda c: c.classify([("a", "b")], long_texts="chunk"), "Text 0 is several texts; `long"),
        (lambda c: c.classify("a", top_k=-1), "`top_k` must be a whole number .* Received: -1"),
        (lambda c: c.classify("a", threshold="0.5"), "`threshold` must be .* Received: '0.5'"),
        (
            lambda c: c.classify("a", threshold=50),
            "`threshold` must be a number from 0 to 1, or No",
        ),
        (lambda c: c.classify("a", batch_size=0), "`batch_size` must be a whole .* Received: 0"),
        (lambda c: c.rerank("a", ["b"]), "needs a model with one class or two, .* num_classes=3"),
        (lambda c: c.calibrate(SHORT, [0, 1]), "x holds 4 examples, but y has 2 entries"),
        (lambda c: c.calibrate(SHORT, ["fog"] * 4), "Labels 'fog' are not among the model's"),
    ],
)
def test_what_a_classifier_cannot_say_is_refused(classifier, use, message):
    with pytest.raises(InputError, match=message):
        use(classifier)


def test_verbs_need_a_preprocessor(classifier):
    bare = models.BertTextClassifier(classifier.backbone, 1, None)
    for use in (
        lambda: bare.classify("a"),
        lambda: bare.classify("a", long_texts="chunk"),
        lambda: bare.rerank("a", ["b"]),
    ):
        with pytest.raises(InputError, match="needs a preprocessor"):
            use()


@pytest.mark.parametrize("labels", [SETS, MULTI_HOT, np.array(MULTI_HOT, "float32")], ids=str)
def test_every_form_of_several_labels_means_the_same(multi, labels):
    loss = multi.evaluate(SHORT, labels, verbose=0)
    logits = multi.predict(SHORT, verbose=0)
    expected = np.logaddexp(0, logits) - logits * np.array(MULTI_HOT)
    assert loss[0] == pytest.approx(expected.mean(), rel=1e-5)
    assert loss[1] == pytest.approx(((logits > 0) == np.array(MULTI_HOT)).mean())


def test_names_of_several_labels_are_learnt():
    multi = tiny_classifier(3, problem_type=MULTI)
    multi.fit(SHORT, SETS, validation_data=(SHORT, SETS), verbose=0)
    assert multi.label_names == NAMES


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [[0, 1], [1, 0], [0, 0], [1, 1]],
            r"Labels of shape \(4, 2\) .* are no vectors with 0 or 1",
        ),
        ([[0, 2, 0]] * 4, "from 0 to 2 are no vectors"),
        ([0, 1, 2, 0], r"Labels of shape \(4,\)"),
        ([[0], [1, 2], [], [0]], "Labels are lists that hold 0"),
        ([["fog"]] * 4, "Labels 'fog' are not among"),
        ([[0, np.nan, 0]] * 4, "are no vectors with 0 or 1"),
    ],
)
def test_several_labels_that_cannot_be_are_refused(multi, labels, message):
    with pytest.raises(InputError, match=message):
        multi.fit(SHORT, labels, verbose=0)


def test_a_regression_learns_numbers():
    model = tiny_classifier(1, problem_type="regression")
    numbers = np.array([0.5, -1.0, 2.0, 0.0])
    error = model.predict(SHORT, verbose=0)[:, 0] - numbers
    loss, absolute = model.evaluate(SHORT, numbers, verbose=0)
    assert loss == pytest.approx((error**2).mean(), rel=1e-5)
    assert absolute == pytest.approx(np.abs(error).mean(), rel=1e-5)
    for use in (lambda: model.classify("a"), lambda: model.calibrate(SHORT, numbers)):
        with pytest.raises(InputError, match="this model gives numbers|not a regression"):
            use()
    with pytest.raises(InputError, match="predicts numbers"):
        model.fit(SHORT, ["a"] * 4, verbose=0)
    with pytest.raises(InputError, match=r"Labels of shape \(4, 2\) must be 1 finite numbers"):
        model.fit(SHORT, [[0.0, 1.0]] * 4, verbose=0)
    with pytest.raises(InputError, match="`class_weight` is for texts of one class"):
        model.fit(SHORT, numbers, class_weight={0: 2.0}, verbose=0)
    scores = [one.score for one in model.rerank("a", SHORT)]
    assert scores == sorted(scores, reverse=True)


def test_soft_labels_without_a_number_are_refused(classifier):
    classifier = tiny_classifier(3, label_names=NAMES)
    classifier.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    with pytest.raises(InputError, match=r"Labels of shape \(4, 3\) hold NaN or infinity"):
        classifier.fit(SHORT, [[0.5, np.nan, 0.5]] * 4, verbose=0)


def test_one_class_against_no_other_is_not_trained():
    one = tiny_classifier(1)
    with pytest.raises(InputError, match="with num_classes=1 learns nothing from classes that"):
        one.fit(SHORT, [0, 0, 0, 0], verbose=0)
    one.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    one.fit(SHORT, [0, 1, 0, 1], verbose=0)


def test_outputs_that_are_no_numbers_are_not_classes():
    for options in ({}, {"problem_type": MULTI}):
        broken = tiny_classifier(3, label_names=NAMES, **options)
        broken.output_dense.bias.assign([0.0, np.nan, 0.0])
        for use in (broken.classify, lambda x, model=broken: model.calibrate(x, ["rain"] * 4)):
            with pytest.raises(ConfigError, match="The model's outputs are NaN. Its weights are"):
                use(SHORT)


def test_an_unknown_kind_of_problem_is_refused():
    with pytest.raises(ConfigError, match="`problem_type` must be one of .* Received: 'ranking'"):
        tiny_classifier(problem_type="ranking")


@pytest.mark.parametrize("num_classes", [1, 2])
def test_documents_are_ordered_by_their_score(num_classes):
    ranker = tiny_classifier(num_classes)
    logits = ranker.predict([("a b", document) for document in SHORT], verbose=0)
    scores = softmax(logits)[:, 1] if num_classes == 2 else 1 / (1 + np.exp(-logits[:, 0]))
    ranked = ranker.rerank("a b", SHORT)
    assert [one.index for one in ranked] == np.argsort(-scores).tolist()
    assert [one.text for one in ranked] == [SHORT[one.index] for one in ranked]
    np.testing.assert_allclose([one.score for one in ranked], -np.sort(-scores), rtol=1e-5)
    assert [one.index for one in ranker.rerank("a b", SHORT, top_k=2)] == [
        one.index for one in ranked[:2]
    ]
    assert ranker.rerank("a b", []) == []
    for documents in (tuple(SHORT), iter(SHORT), np.array(SHORT)):
        assert ranker.rerank("a b", documents) == ranked
    with pytest.raises(InputError, match="takes a query and a list of documents"):
        ranker.rerank("a", "b")
    with pytest.raises(InputError, match="x is None"):
        ranker.rerank("a", None)
    with pytest.raises(InputError, match="`top_k` must be a whole number"):
        ranker.rerank("a", SHORT, top_k=0)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("problem_type", [None, MULTI])
def test_a_temperature_is_kept_in_every_format(problem_type, tmp_path):
    classifier = tiny_classifier(3, label_names=NAMES, problem_type=problem_type)
    before = classifier.predict(SHORT, verbose=0)
    best = before.argmax(axis=1)
    # Right three times of four.
    wrong = [*best[:3], (best[3] + 1) % 3]
    y = np.eye(3)[wrong] if problem_type else [NAMES[i] for i in wrong]
    temperature = classifier.calibrate(SHORT, y)
    after = classifier.predict(SHORT, verbose=0)
    np.testing.assert_allclose(after, before / temperature, rtol=1e-4, atol=1e-6)
    classifier.save_to_preset(tmp_path / "preset")
    classifier.save(tmp_path / "task.keras")
    for loaded in (
        models.TextClassifier.from_preset(tmp_path / "preset"),
        keras.saving.load_model(tmp_path / "task.keras"),
    ):
        assert (loaded.problem_type, loaded.label_names) == (problem_type, NAMES)
        np.testing.assert_allclose(loaded.predict(SHORT, verbose=0), after, atol=1e-6)


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_a_temperature_has_the_least_cross_entropy(is_multi_label):
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, (300, 3))
    likely = softmax(logits / 3)
    targets = np.eye(3)[[random.choice(3, p=p) for p in likely]]
    if is_multi_label:
        targets = (random.random((300, 3)) < 1 / (1 + np.exp(-logits / 3))).astype("float64")

    def loss(temperature):
        scaled = logits / temperature
        if is_multi_label:
            return (np.logaddexp(0, scaled) - scaled * targets).mean()
        return -np.log(softmax(scaled))[targets == 1].mean()

    found = best_temperature(logits, targets, is_multi_label=is_multi_label)
    assert 2 < found < 4
    assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01))


def test_what_cannot_be_calibrated_is_refused(classifier):
    right = classifier.predict(SHORT, verbose=0).argmax(axis=1)
    with pytest.raises(InputError, match="No temperature from 0.01 to 100.0 is the best"):
        classifier.calibrate(SHORT, right)
    with pytest.raises(InputError, match="needs a model of classes whose outputs are logits"):
        tiny_classifier(activation="softmax").calibrate(SHORT, [0, 1, 0, 1])
    quantized = tiny_classifier()
    quantized.quantize("int8")
    with pytest.raises(InputError, match="The weights are quantized: calibrate the model before"):
        quantized.calibrate(SHORT, [0, 1, 0, 1])


@pytest.mark.parametrize("name", [name for name in TASKS if name.endswith("TextClassifier")])
def test_the_kind_of_problem_survives_in_their_format(name, tmp_path):
    task = tiny_task(TASKS[name], problem_type=MULTI, label_names=NAMES)
    task.export_to_transformers(tmp_path / "exported")
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["problem_type"] == MULTI
    loaded = models.TextClassifier.from_preset(tmp_path / "exported")
    assert loaded.problem_type == MULTI
    # The exported one may compute another GELU.
    for ours, theirs in zip(loaded.predict(TEXTS), task.predict(TEXTS), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-2)
