"""From a file of examples to a trained model: what `clozework train` does."""

from clozework.training.comparison import ClassifierComparison, compare_classifiers
from clozework.training.evaluation import (
    CalibrationBin,
    ClassifierEvaluation,
    ClassScores,
    Mistake,
    evaluate_classifier,
)
from clozework.training.explanation import (
    Explanation,
    WordWeight,
    explain_class,
    explanation_page,
)
from clozework.training.report import report_page
from clozework.training.runs import Training, TrainingOptions, TrainingResult, plan_training

__all__ = [
    "CalibrationBin",
    "ClassScores",
    "ClassifierComparison",
    "ClassifierEvaluation",
    "Explanation",
    "Mistake",
    "Training",
    "TrainingOptions",
    "TrainingResult",
    "WordWeight",
    "compare_classifiers",
    "evaluate_classifier",
    "explain_class",
    "explanation_page",
    "plan_training",
    "report_page",
]
