"""How near the summaries that a trained model writes are to those that were expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clozework.training.evaluations.evaluation import (
    Evaluation,
    ScoreTable,
    check_examples,
    import_scores,
    measured_lengths,
)

__all__ = ["ScoredSummary", "SummaryEvaluation", "evaluate_summarizer"]

_ROUGE = ("rouge1", "rouge2", "rougeL")
_NUM_MISTAKES = 20
# Writing takes far longer than training on as many.
_MOST_TEXTS = 200


@dataclass(frozen=True)
class ScoredSummary:
    """A summary that was expected, the one that was written, and its ROUGE-L."""

    expected: str
    written: str
    rouge_l: float


@dataclass(frozen=True)
class SummaryEvaluation(Evaluation):
    """What `evaluate_summarizer` found.

    Attributes:
        rouge: `"rouge1"`, `"rouge2"` and `"rougeL"`: mean F1 of words, of pairs of words, and of
            the longest common subsequence.
        num_texts: How many summaries were written.
        mistakes: The summaries that are the farthest from what was expected.
        lengths: Of the texts.
    """

    rouge: dict[str, float]
    num_texts: int
    mistakes: list[ScoredSummary]

    def summary(self):
        told = ", ".join(f"{name} {value:.3f}" for name, value in self.rouge.items())
        return f"Of {self.num_texts} summaries: {told}."

    def scores(self):
        return ScoreTable(
            ["score", "mean F1"], [[name, f"{value:.3f}"] for name, value in self.rouge.items()]
        )

    def worst(self):
        rows = [[one.expected, one.written, f"{one.rouge_l:.3f}"] for one in self.mistakes]
        return ScoreTable(["expected", "written", "ROUGE-L"], rows, first_number=2)


def evaluate_summarizer(summarizer, examples: Mapping[str, Sequence[str]]) -> SummaryEvaluation:
    """Returns the ROUGE scores of the summaries that a model writes, of 200 texts at most.

    Scores are those of rouge-score, with stemming: Lin, 2004, https://aclanthology.org/W04-1013

    Args:
        summarizer: A `Seq2SeqLM`.
        examples: `"encoder_text"` and `"decoder_text"`, as for `fit`.

    Raises:
        MissingPackageError: If rouge-score is not there.
        NoExamplesError: If there are no examples.
    """
    check_examples(examples["encoder_text"])
    scorer = import_scores("rouge_score.rouge_scorer", "rouge-score")
    rouge = scorer.RougeScorer(list(_ROUGE), use_stemmer=True)
    texts = list(examples["encoder_text"])[:_MOST_TEXTS]
    expected = list(examples["decoder_text"])[:_MOST_TEXTS]
    written = summarizer.generate(texts)
    found = [rouge.score(*pair) for pair in zip(expected, written, strict=True)]
    order = sorted(range(len(found)), key=lambda i: found[i]["rougeL"].fmeasure)
    return SummaryEvaluation(
        lengths=measured_lengths(summarizer, texts),
        rouge={name: float(np.mean([one[name].fmeasure for one in found])) for name in _ROUGE},
        num_texts=len(texts),
        mistakes=[
            ScoredSummary(expected[i], written[i], float(found[i]["rougeL"].fmeasure))
            for i in order[:_NUM_MISTAKES]
            if found[i]["rougeL"].fmeasure < 1
        ],
    )
