"""Short texts and a small model: what is spent beside the model, however many there are."""

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import (
    CLOZEWORK,
    CLOZEWORK_ON_TORCH,
    TRANSFORMERS,
    Library,
)

__all__ = ["many_texts"]

_MOST = 100_000
# Few texts are read several times in a row: by themselves they would be done in a moment.
_TIMES = {1_000: 10, 10_000: 1}
_IN_TRIALS = 100


def many_texts(plan: Plan) -> Comparison:
    """Returns the comparison for 1,000 to 100,000 texts; a trial has a hundredth of them."""
    share = 1 if plan.num_layers is None else _IN_TRIALS
    padded = {"is_sorted": True, "budget": 2048, "padding_id": 1, "is_compiled": False}
    reference = "transformers SDPA, token budget"

    def peer(name: str, library: Library, count: int = _MOST, times: int = 1, **settings) -> Peer:
        count //= share
        told = {
            "model": plan.models.directory("roberta_small"),
            "texts": plan.short_texts(count),
            "dtype": "float32",
            "times": times,
            **settings,
        }
        note = f"{times} times in a row." if times > 1 else ""
        job = library.job("classifier", told)
        return Peer(name, lambda: job, count * times, note=note)

    return Comparison(
        title="Short texts: `predict`, float32",
        unit="texts",
        peers=(
            peer(f"{OURS} predict", CLOZEWORK),
            *(
                peer(f"{OURS} predict, {count // share:,} texts", CLOZEWORK, count, times)
                for count, times in _TIMES.items()
            ),
            peer(f"{OURS} predict on PyTorch", CLOZEWORK_ON_TORCH),
            peer(reference, TRANSFORMERS, **padded),
        ),
        reference=reference,
        text=f"A classifier of 2 layers and 128 dimensions with RoBERTa's vocabulary, and "
        f"{_MOST // share:,} texts of 8 words in the median, or fewer.",
    )
