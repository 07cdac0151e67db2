"""What `QuestionAnswerer` adds to a task."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from clozework.tasks.answers import answer_span, answer_tokens, best_spans, join_answers
from tests.contract.families import TASKS, tiny_preprocessor, tiny_task
from tests.nasty_texts import nasty_texts

QUESTIONS = ["the fox", "dog"]
CONTEXTS = ["the lazy dog and the quick fox", "heaven and earth"]
ANSWERS = [(4, 12), (0, 6)]


@pytest.fixture(scope="module")
def answerer():
    """Shared by tests that leave it as it was."""
    return tiny_task(models.BertQuestionAnswerer)


def softmax(values):
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def test_the_answer_is_the_most_probable_span_of_the_context(answerer):
    logits = answerer.predict((QUESTIONS[:1], CONTEXTS[:1]), verbose=0)[0]
    # [CLS] the fox [SEP] the lazy dog and the quick fox [SEP]: only the first token competes.
    start, end = (softmax(row[[0, *range(4, 11)]])[1:] for row in logits)
    words = CONTEXTS[0].split()
    expected = sorted(
        (
            (float(start[i] * end[j]), " ".join(words[i : j + 1]))
            for i in range(7)
            for j in range(i, min(i + 3, 7))
        ),
        reverse=True,
    )
    answers = answerer.answer(QUESTIONS[0], CONTEXTS[0], top_k=5, max_answer_length=3)
    assert [a.text for a in answers] == [text for _, text in expected[:5]]
    np.testing.assert_allclose([a.score for a in answers], [s for s, _ in expected[:5]], rtol=1e-4)
    assert all(CONTEXTS[0][a.start : a.end] == a.text for a in answers)


def test_no_answer_has_the_score_of_the_first_token(answerer):
    logits = answerer.predict((QUESTIONS[:1], CONTEXTS[:1]), verbose=0)[0]
    score = np.prod([softmax(row[[0, *range(4, 11)]])[0] for row in logits])
    answers = answerer.answer(QUESTIONS[0], CONTEXTS[0], top_k=50, can_be_absent=True)
    (absent,) = [a for a in answers if not a.text]
    assert (absent.start, absent.end) == (0, 0)
    assert absent.score == pytest.approx(score, rel=1e-4)
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)


def test_lists_and_strings_give_the_same(answerer):
    both = answerer.answer(QUESTIONS, CONTEXTS)
    for question, context, answers in zip(QUESTIONS, CONTEXTS, both, strict=True):
        (alone,) = answerer.answer(question, context)
        assert (alone.text, alone.start) == (answers[0].text, answers[0].start)
    shared = answerer.answer(QUESTIONS, CONTEXTS[0])
    assert shared[0][0].text == both[0][0].text
    assert answerer.answer([], []) == []
    assert answerer.answer("the fox", "") == []


def test_long_contexts_are_read_to_their_end(answerer):
    context = " ".join(CONTEXTS * 4)
    answers = answerer.answer("dog", context, top_k=1000, max_answer_length=1, batch_size=3)
    starts = {a.start for a in answers}
    words = context.split()
    assert starts == {len(" ".join(words[:i])) + (i > 0) for i in range(len(words))}


@pytest.mark.parametrize("name", ["Bert", "Roberta", "XLMRoberta", "FNet"])
def test_answers_are_where_they_say_in_nasty_contexts(name):
    task = tiny_task(TASKS[f"{name}QuestionAnswerer"])
    contexts = nasty_texts(40)
    found = task.answer(["the"] * len(contexts), contexts, top_k=3)
    for context, answers in zip(contexts, found, strict=True):
        assert all(context[a.start : a.end] == a.text != "" for a in answers)
    assert sum(map(len, found)) > 40


def test_answers_may_be_places_texts_or_dicts(answerer):
    pairs = list(zip(QUESTIONS, CONTEXTS, strict=True))
    expected = answerer.evaluate(pairs, ANSWERS, verbose=0)
    texts = [(context[s:e], s) for context, (s, e) in zip(CONTEXTS, ANSWERS, strict=True)]
    dicts = [{"text": [text, "other"], "answer_start": [start, 0]} for text, start in texts]
    for answers in (np.array(ANSWERS), texts, dicts):
        assert answerer.evaluate((QUESTIONS, CONTEXTS), answers, verbose=0) == expected
    stream = ((pair, answer) for pair, answer in zip(pairs, ANSWERS, strict=True))
    assert answerer.evaluate(stream, verbose=0) == expected


def test_labels_are_positions_in_the_row(answerer):
    pairs = [(QUESTIONS[0], CONTEXTS[0]), (QUESTIONS[0], CONTEXTS[0])]
    x, y = answerer._training_batch(pairs, [(4, 12), (0, 0)], None)
    assert y.tolist() == [[5, 6], [0, 0]]
    tokenizer = answerer.preprocessor.tokenizer
    assert tokenizer.detokenize(x["token_ids"][0, 5:7]) == "lazy dog"


@pytest.mark.filterwarnings("ignore::clozework.errors.ClozeworkWarning")
@pytest.mark.parametrize("word", [0, 9, 20, 35])
def test_a_long_context_is_trained_on_around_its_answer(answerer, word):
    words = ["the", "lazy", "dog", "and"] * 9
    words[word] = "earth"
    context = " ".join(words)
    x, y = answerer._training_batch([("fox", context)], [("earth", context.index("earth"))], None)
    first, last = y[0]
    assert first == last
    assert x["token_ids"][0, first] == answerer.preprocessor.tokenizer.token_to_id("earth")


def test_that_a_context_is_cut_is_said_once():
    task = tiny_task(models.BertQuestionAnswerer)
    pairs = [("fox", "the lazy dog and " * 9)]
    with pytest.warns(ClozeworkWarning, match="1 of 1 contexts are longer than a row and"):
        task._training_batch(pairs, [(0, 3)], None)
    task._training_batch(pairs, [(0, 3)], None)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("the " * 20, "fox"), {}, InputError, "has 20 tokens, which leaves no room for a context"),
        (("the", ["fox"]), {}, InputError, "`context` is a list for a single question"),
        ((["the", "fox"], ["fox"]), {}, InputError, "There are 2 questions, but 1 contexts"),
        (([("a", "b")], "fox"), {}, InputError, "takes pairs"),
        (("the", "fox"), {"top_k": 0}, InputError, "`top_k` must be .* of at least 1. Received: 0"),
        (("the", "fox"), {"max_answer_length": 0}, InputError, "`max_answer_length` must be a who"),
        (("the", "fox"), {"batch_size": 0}, InputError, "`batch_size` must be .* Received: 0"),
        (("the", "fox"), {"overlap": -1}, ConfigError, "cannot overlap by -1"),
    ],
)
def test_what_cannot_be_answered_is_refused(answerer, arguments, options, error, message):
    with pytest.raises(error, match=message):
        answerer.answer(*arguments, **options)


def test_pairs_and_a_preprocessor_are_needed(answerer):
    for use in (answerer.predict_on_batch, lambda x: answerer.fit(x, [(0, 3)], verbose=0)):
        with pytest.raises(
            InputError, match="Text 0 is 'fox', but a question answerer takes pairs"
        ):
            use(["fox"])
    with pytest.raises(InputError, match="`answer` needs a preprocessor"):
        models.BertQuestionAnswerer(answerer.backbone).answer("a", "b")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(0, 99), (0, 1)], r"The answer \(0, 99\) is no part of its context of 30 characters"),
        ([("fox", 0), (0, 1)], "The answer 'fox' does not begin at 0, where the context has 'the'"),
        ([(3, 4), (0, 1)], "The answer ' ' at 3 covers no token"),
        ([0, 1], "An answer must be .start, end."),
        ([("fox", "0"), (0, 1)], "An answer must be"),
        ([{"text": ["fox"]}] * 2, r"y\[0\] is .*, but answers that are dicts need 'text' and"),
        ([(0, 3), None], r"y\[1\] is None, but an answer is \(start, end\)"),
        (None, "Training a question answerer needs labels"),
    ],
)
def test_answers_that_cannot_be_are_refused(answerer, answers, message):
    with pytest.raises(InputError, match=message):
        answerer.evaluate((QUESTIONS, CONTEXTS), answers, verbose=0)


def test_positions_have_the_shape_of_first_and_last_tokens(answerer):
    bare = models.BertQuestionAnswerer(answerer.backbone)
    x = answerer.preprocessor((QUESTIONS, CONTEXTS))
    with pytest.raises(InputError, match=r"have the shape \(2,\), but should have \(2, 2\)"):
        bare.evaluate(x, np.array([0, 1]), verbose=0)


def test_padding_counts_for_nothing(answerer):
    loss, accuracy = answerer.evaluate((QUESTIONS, CONTEXTS), ANSWERS, verbose=0)
    logits = answerer.predict((QUESTIONS, CONTEXTS), verbose=0)
    x, y = answerer._training_batch(list(zip(QUESTIONS, CONTEXTS, strict=True)), ANSWERS, None)
    lengths = x["padding_mask"].sum(axis=1)
    expected = [
        -np.log(softmax(logits[i, j, : lengths[i]])[y[i, j]]) for i in range(2) for j in range(2)
    ]
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)
    assert 0 <= accuracy <= 1


def test_spans_of_tokens_are_those_that_fit(answerer):
    start, end = np.array([0.1, 0.9]), np.array([0.8, 0.2])
    spans = [(i, j) for i, j, _ in best_spans(start, end, top_k=9, max_length=9)]
    assert spans == [(1, 1), (0, 0), (0, 1)]
    assert answer_tokens("ab cd", [(0, 1), (1, 2), (3, 5)], (1, 4)) == (1, 2)
    assert answer_span("ab", (np.int64(0), np.int64(2))) == (0, 2)
    assert join_answers([(0, 1)]) == [(0, 1)]


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_answers_survive_in_every_format(answerer, tmp_path):
    expected = answerer.answer(QUESTIONS, CONTEXTS, top_k=3)
    answerer.save_to_preset(tmp_path / "preset")
    answerer.export_to_transformers(tmp_path / "exported")
    answerer.save(tmp_path / "task.keras")
    for loaded in (
        models.QuestionAnswerer.from_preset(tmp_path / "preset"),
        models.QuestionAnswerer.from_preset(tmp_path / "exported"),
        keras.saving.load_model(tmp_path / "task.keras"),
    ):
        texts = [[a.text for a in answers] for answers in loaded.answer(QUESTIONS, CONTEXTS, 3)]
        # The exported one computes another GELU.
        assert [t[0] for t in texts] == [answers[0].text for answers in expected]


def test_subtokens_are_rounded_up_to_words(answerer):
    answers = answerer.answer("the", "foxs dogs", top_k=50)
    assert {a.text for a in answers} <= {"foxs", "dogs", "foxs dogs"}
    assert tiny_preprocessor(models.BertQuestionAnswerer).tokenizer("foxs").shape == (2,)
