"""The comparisons, by name."""

from collections.abc import Callable

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.prediction import (
    predict_deberta,
    predict_precisions,
    predict_roberta,
)

__all__ = ["COMPARISONS", "OURS", "Comparison", "Peer", "Plan"]

COMPARISONS: dict[str, Callable[[Plan], Comparison]] = {
    "predict-roberta": predict_roberta,
    "predict-deberta": predict_deberta,
    "predict-precisions": predict_precisions,
}
