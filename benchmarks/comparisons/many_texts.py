"""Many short texts and a small model: what is spent beside the model, and memory."""

from collections.abc import Callable

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import CLOZEWORK, CLOZEWORK_ON_TORCH, TRANSFORMERS

__all__ = ["many_texts"]


def many_texts(count: int) -> Callable[[Plan], Comparison]:
    """Returns the comparison for a number of texts; a trial has a hundredth of them."""

    def comparison(plan: Plan) -> Comparison:
        num_texts = count if plan.num_layers is None else count // 100
        settings = {
            "model": plan.models.directory("roberta_small"),
            "texts": plan.short_texts(num_texts),
            "dtype": "float32",
            "padding_id": 1,
            "is_compiled": False,
        }
        in_batches = {**settings, "is_sorted": True, "budget": 2048}
        jobs = {
            f"{OURS} predict": CLOZEWORK.job("classifier", settings),
            f"{OURS} predict on PyTorch": CLOZEWORK_ON_TORCH.job("classifier", settings),
            "transformers SDPA, token budget": TRANSFORMERS.job("classifier", in_batches),
        }
        return Comparison(
            title=f"{num_texts:,} short texts",
            unit="texts",
            peers=tuple(Peer(name, lambda job=job: job, num_texts) for name, job in jobs.items()),
            reference="transformers SDPA, token budget",
            text="A classifier of 2 layers and 128 dimensions with RoBERTa's vocabulary; texts of "
            "8 words in the median.",
        )

    return comparison
