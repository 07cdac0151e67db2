"""Which entities a trained tagger finds, and which it takes for others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from clozework.tasks.tags import join_words
from clozework.training.evaluations.classes import ClassScores, score_table
from clozework.training.evaluations.evaluation import (
    Evaluation,
    ScoreTable,
    check_examples,
    import_scores,
    measured_lengths,
)

__all__ = ["TaggedSentence", "TaggerEvaluation", "evaluate_tagger"]

_OUTSIDE = "O"
_WITH_PREFIX = re.compile(r"[BIESLU]-.+")
_PREFIXES = {"L": "E", "U": "S"}
_NUM_MISTAKES = 20


@dataclass(frozen=True)
class TaggedSentence:
    """The words of a sentence, their tags, and those that a model gave them."""

    words: list[str]
    tags: list[str]
    predicted: list[str]

    @property
    def num_mistakes(self) -> int:
        """How many words have another tag."""
        return sum(a != b for a, b in zip(self.tags, self.predicted, strict=True))


@dataclass(frozen=True)
class TaggerEvaluation(Evaluation):
    """What `evaluate_tagger` found.

    Attributes:
        precision, recall, f1: Of all entities; one is right if its words and its label are.
        accuracy: Share of words with the right tag.
        entities: Scores of each label.
        mistakes: The sentences with the most mistakes.
        lengths: Of the sentences.
    """

    precision: float
    recall: float
    f1: float
    accuracy: float
    entities: list[ClassScores]
    mistakes: list[TaggedSentence]

    def summary(self):
        return (
            f"{self.precision:.1%} of the entities that are found are right, and {self.recall:.1%} "
            f"of all are found: F1 {self.f1:.3f}. {self.accuracy:.1%} of the words of "
            f"{len(self.lengths.counts)} sentences have the right tag."
        )

    def scores(self):
        return score_table("entity", self.entities, "entities")

    def worst(self):
        rows = [
            [_shown(one.words, one.tags), _shown(one.words, one.predicted)] for one in self.mistakes
        ]
        return ScoreTable(["sentence", "as it was tagged"], rows, first_number=2)


def evaluate_tagger(
    tagger, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]
) -> TaggerEvaluation:
    """Returns which entities of tagged sentences a tagger finds.

    Entities are counted by seqeval, as in CoNLL: https://github.com/chakki-works/seqeval. Tags
    without a prefix, such as `"LOC"`, make an entity of each run of words that have them.

    Args:
        tagger: A `TokenClassifier` with names of its tags.
        sentences: Lists of words.
        tags: For each word its tag.

    Raises:
        MissingPackageError: If seqeval is not there.
        NoExamplesError: If there are no examples.
        InputError: If a sentence has not one tag for each word.
    """
    check_examples(sentences)
    metrics = import_scores("seqeval.metrics", "seqeval")
    expected = [list(map(str, row)) for row in tags]
    # Says which sentence has not one tag for each word.
    join_words([list(words) for words in sentences], expected)
    predicted = tagger.tag_words([list(words) for words in sentences])
    pair = (_with_prefixes(expected), _with_prefixes(predicted))
    # Where there are no entities at all, seqeval would take the mean of nothing.
    has_entities = any(tag != _OUTSIDE for rows in pair for row in rows for tag in row)
    report = {"micro avg": {"precision": 0.0, "recall": 0.0, "f1-score": 0.0}}
    if has_entities:
        report = metrics.classification_report(*pair, output_dict=True, zero_division=0)
    tagged = [
        TaggedSentence(list(words), *both)
        for words, *both in zip(sentences, expected, predicted, strict=True)
    ]
    wrong = sorted((one for one in tagged if one.num_mistakes), key=lambda one: -one.num_mistakes)
    total = report["micro avg"]
    return TaggerEvaluation(
        lengths=measured_lengths(tagger, [" ".join(words) for words in sentences]),
        precision=float(total["precision"]),
        recall=float(total["recall"]),
        f1=float(total["f1-score"]),
        accuracy=float(metrics.accuracy_score(*pair)),
        entities=[
            ClassScores(
                label,
                float(found["precision"]),
                float(found["recall"]),
                float(found["f1-score"]),
                int(found["support"]),
            )
            for label, found in report.items()
            if not label.endswith(" avg")
        ],
        mistakes=wrong[:_NUM_MISTAKES],
    )


def _with_prefixes(rows: list[list[str]]) -> list[list[str]]:
    """Returns tags that seqeval knows: it has E and S where others write L and U."""
    return [[_with_prefix(tag) for tag in row] for row in rows]


def _with_prefix(tag: str) -> str:
    if tag == _OUTSIDE:
        return tag
    if not _WITH_PREFIX.fullmatch(tag):
        return f"I-{tag}"
    return _PREFIXES.get(tag[0], tag[0]) + tag[1:]


def _shown(words: Sequence[str], tags: Sequence[str]) -> str:
    """Returns the sentence, with each word that is tagged in brackets."""
    return " ".join(
        word if tag == _OUTSIDE else f"[{word} {tag}]"
        for word, tag in zip(words, tags, strict=True)
    )
