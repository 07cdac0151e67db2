"""Each task learns fifty examples by heart, on strings, and says them back."""

import keras
import numpy as np
import pytest

from clozework import models
from tests.unit.tasks.tiny_models import VOCABULARY, tiny_backbone, tiny_tokenizer
from tests.unit.tasks.tiny_seq2seq import TOKENS, tiny_preprocessor

NUM_EXAMPLES = 50
LEARNED = 0.02
LETTERS = VOCABULARY[5:8]


@pytest.fixture(scope="module")
def sentences():
    """Lists of words, all different."""
    random = np.random.default_rng(0)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < NUM_EXAMPLES:
        words = random.choice([*LETTERS, "heaven", "earth"], random.integers(4, 9)).tolist()
        found[tuple(words)] = None
    return [list(words) for words in found]


def learner(task_cls, *arguments, **options):
    """Returns a task that learns fast."""
    keras.utils.set_random_seed(1)
    preprocessor = task_cls.preprocessor_cls(tiny_tokenizer(), sequence_length=16)
    backbone = tiny_backbone(num_layers=2, hidden_dim=32, intermediate_dim=64)
    task = task_cls(backbone, *arguments, preprocessor=preprocessor, dropout=0.0, **options)
    task.compile(keras.optimizers.Adam(5e-3))
    return task


class _StopWhenLearned(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = logs["loss"] < LEARNED / 2


def learn(task, x, y):
    """Trains until the examples are known by heart; the last loss must be next to nothing."""
    callbacks = [_StopWhenLearned()]
    history = task.fit(x, y, batch_size=25, epochs=150, verbose=0, callbacks=callbacks).history
    assert history["loss"][-1] < LEARNED


def test_a_token_classifier_learns_places_and_what_stands_before_them(sentences):
    # A letter before a place belongs to it.
    tags = [
        [
            "I-PLACE"
            if word not in LETTERS and i and words[i - 1] in LETTERS
            else "B-PLACE"
            if word not in LETTERS or (i + 1 < len(words) and words[i + 1] not in LETTERS)
            else "O"
            for i, word in enumerate(words)
        ]
        for words in sentences
    ]
    tagger = learner(models.BertTokenClassifier, 3)
    learn(tagger, sentences, tags)
    for words, expected, entities in zip(sentences, tags, tagger.tag(sentences), strict=True):
        text = " ".join(words)
        starts = [e.start for e in entities]
        assert [text[:start].count(" ") for start in starts] == [
            i for i, tag in enumerate(expected) if tag == "B-PLACE"
        ]
        assert sum(e.text.count(" ") + 1 for e in entities) == len(expected) - expected.count("O")


def test_a_question_answerer_learns_which_place_is_meant(sentences):
    questions = ["a" if i % 2 else "b" for i in range(len(sentences))]
    contexts = [" ".join(words) for words in sentences]
    # The first word where "a" is asked for, the last one where "b" is.
    answers = [
        (0, context.index(" ")) if question == "a" else (context.rindex(" ") + 1, len(context))
        for question, context in zip(questions, contexts, strict=True)
    ]
    answerer = learner(models.BertQuestionAnswerer)
    learn(answerer, (questions, contexts), answers)
    found = answerer.answer(questions, contexts)
    assert [(best.start, best.end) for (best,) in found] == answers


@pytest.mark.parametrize("problem_type", [None, "multi_label_classification"])
def test_a_classifier_learns_which_places_occur(sentences, problem_type):
    texts = [" ".join(words) for words in sentences]
    sets = [sorted({"heaven", "earth"} & set(words)) for words in sentences]
    labels = sets if problem_type else ["+".join(names) or "none" for names in sets]
    num_classes = 2 if problem_type else len(set(labels))
    classifier = learner(models.BertTextClassifier, num_classes, problem_type=problem_type)
    learn(classifier, texts, labels)
    for expected, found in zip(labels, classifier.classify(texts, threshold=0.5), strict=True):
        names = sorted(one.label for one in found)
        assert names == (expected if problem_type else [expected])


def test_a_summary_of_first_and_last_letter_is_learned():
    random = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < NUM_EXAMPLES:
        texts["".join(random.choice([*"abcdefgh"], random.integers(4, 10)))] = None
    summaries = [text[0] + text[-1] for text in texts]
    keras.utils.set_random_seed(1)
    backbone = models.BartBackbone(
        len(TOKENS), 1, 2, hidden_dim=32, intermediate_dim=64, dropout=0.0, max_sequence_length=12
    )
    writer = models.BartSeq2SeqLM(backbone, preprocessor=tiny_preprocessor())
    writer.compile(keras.optimizers.Adam(5e-3), sampler="greedy")
    learn(writer, {"encoder_text": list(texts), "decoder_text": summaries}, None)
    assert writer.summarize(list(texts)) == summaries
