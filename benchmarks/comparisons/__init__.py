"""The comparisons, by name."""

from collections.abc import Callable

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.generation import generate
from benchmarks.comparisons.many_texts import many_texts
from benchmarks.comparisons.on_gpu import fit_on_gpu, predict_on_gpu
from benchmarks.comparisons.prediction import (
    predict_deberta,
    predict_precisions,
    predict_roberta,
)
from benchmarks.comparisons.starting import start
from benchmarks.comparisons.tokenization import tokenize
from benchmarks.comparisons.training import fit

__all__ = ["COMPARISONS", "GPU_COMPARISONS", "OURS", "Comparison", "Peer", "Plan"]

COMPARISONS: dict[str, Callable[[Plan], Comparison]] = {
    "predict-roberta": predict_roberta,
    "predict-deberta": predict_deberta,
    "predict-precisions": predict_precisions,
    "predict-short": many_texts,
    "fit-roberta": fit("roberta_base", "RoBERTa-base classifier"),
    "fit-deberta": fit("deberta_v3_base", "DeBERTaV3-base classifier"),
    "generate-greedy": generate(1),
    "generate-beams": generate(4),
    "tokenize": tokenize,
    "start": start,
}

# These are run by their names alone: they need a GPU.
GPU_COMPARISONS: dict[str, Callable[[Plan], Comparison]] = {
    "predict-roberta-gpu": predict_on_gpu("roberta_base", "RoBERTa-base classifier"),
    "predict-deberta-gpu": predict_on_gpu("deberta_v3_base", "DeBERTaV3-base classifier"),
    "fit-roberta-gpu": fit_on_gpu("roberta_base", "RoBERTa-base classifier"),
    "fit-deberta-gpu": fit_on_gpu("deberta_v3_base", "DeBERTaV3-base classifier"),
}
