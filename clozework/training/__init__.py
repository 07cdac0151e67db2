"""From a file of examples to a trained model: what `clozework train` does."""

from clozework.training.comparison import ClassifierComparison, compare_classifiers
from clozework.training.evaluations.answers import AnswerEvaluation, ScoredAnswer, evaluate_answerer
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
from clozework.training.explanation import (
    Explanation,
    WordWeight,
    explain_class,
    explanation_page,
)
from clozework.training.kinds import kind_of_model
from clozework.training.report import report_page
from clozework.training.runs import (
    Training,
    TrainingOptions,
    TrainingProgress,
    TrainingResult,
    plan_training,
)

__all__ = [
    "AnswerEvaluation",
    "CalibrationBin",
    "ClassScores",
    "ClassifierComparison",
    "ClassifierEvaluation",
    "Evaluation",
    "Explanation",
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
    "Training",
    "TrainingOptions",
    "TrainingProgress",
    "TrainingResult",
    "WordWeight",
    "compare_classifiers",
    "evaluate_answerer",
    "evaluate_classifier",
    "evaluate_embedder",
    "evaluate_summarizer",
    "evaluate_tagger",
    "explain_class",
    "explanation_page",
    "kind_of_model",
    "plan_training",
    "report_page",
]
