"""What trained models get right and wrong, on examples that they have not been trained on."""

from clozework.training.evaluations.answers import (
    AnswerEvaluation,
    ScoredAnswer,
    evaluate_answerer,
)
from clozework.training.evaluations.classes import (
    CalibrationBin,
    ClassifierEvaluation,
    ClassScores,
    Mistake,
    evaluate_classifier,
)
from clozework.training.evaluations.entities import (
    TaggedSentence,
    TaggerEvaluation,
    evaluate_tagger,
)
from clozework.training.evaluations.evaluation import Evaluation, ScoreTable, TextLengths
from clozework.training.evaluations.retrieval import (
    FarDocument,
    RetrievalEvaluation,
    evaluate_embedder,
)
from clozework.training.evaluations.summaries import (
    ScoredSummary,
    SummaryEvaluation,
    evaluate_summarizer,
)

__all__ = [
    "AnswerEvaluation",
    "CalibrationBin",
    "ClassScores",
    "ClassifierEvaluation",
    "Evaluation",
    "FarDocument",
    "Mistake",
    "RetrievalEvaluation",
    "ScoreTable",
    "ScoredAnswer",
    "ScoredSummary",
    "SummaryEvaluation",
    "TaggedSentence",
    "TaggerEvaluation",
    "TextLengths",
    "evaluate_answerer",
    "evaluate_classifier",
    "evaluate_embedder",
    "evaluate_summarizer",
    "evaluate_tagger",
]
