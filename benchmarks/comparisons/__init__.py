"""The comparisons, by name."""

from collections.abc import Callable

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.generation import generate
from benchmarks.comparisons.many_texts import many_texts
from benchmarks.comparisons.prediction import (
    predict_deberta,
    predict_precisions,
    predict_roberta,
)
from benchmarks.comparisons.starting import start
from benchmarks.comparisons.tokenization import tokenize
from benchmarks.comparisons.training import fit

__all__ = ["COMPARISONS", "OURS", "Comparison", "Peer", "Plan"]

COMPARISONS: dict[str, Callable[[Plan], Comparison]] = {
    "predict-roberta": predict_roberta,
    "predict-deberta": predict_deberta,
    "predict-precisions": predict_precisions,
    "predict-1k": many_texts(1_000),
    "predict-10k": many_texts(10_000),
    "predict-100k": many_texts(100_000),
    "fit-roberta": fit("roberta_base", "RoBERTa-base classifier"),
    "fit-deberta": fit("deberta_v3_base", "DeBERTaV3-base classifier"),
    "generate-greedy": generate(1),
    "generate-beams": generate(4),
    "tokenize": tokenize,
    "start": start,
}
