"""Fine-tuning classifiers."""

from collections.abc import Callable
from dataclasses import replace

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import (
    CLOZEWORK,
    CLOZEWORK_ON_TORCH,
    KERAS_HUB,
    TRANSFORMERS,
    Library,
)
from benchmarks.processes import Job

__all__ = ["fit"]

_BATCH_SIZE = 32
_MOST_TEXTS = 256
# KerasHub computes 512 tokens for every text; 32 such rows would take many gigabytes.
_KERAS_HUB_BATCH_SIZE = 4
_KERAS_HUB_TEXTS = 8


def fit(model: str, title: str) -> Callable[[Plan], Comparison]:
    """Returns the comparison for a model."""

    def comparison(plan: Plan) -> Comparison:
        count = min(plan.num_texts, _MOST_TEXTS)
        peers = _Peers(plan, model, count)
        return Comparison(
            title=f"{title}: fine-tuning",
            unit="examples",
            peers=(
                peers.peer(f"{OURS} fit", CLOZEWORK, "training"),
                peers.peer(f"{OURS} fit on PyTorch", CLOZEWORK_ON_TORCH, "training"),
                peers.keras_hub(),
                peers.peer("PyTorch loop", TRANSFORMERS, "training", is_grouped=False),
                peers.peer("PyTorch loop, like lengths", TRANSFORMERS, "training", is_grouped=True),
            ),
            # All of them at once would need more than 24 GB.
            is_in_pairs=True,
            reference=f"{OURS} fit",
            text=f"One epoch of {count} texts in batches of {_BATCH_SIZE}, with Adam or AdamW. "
            "Outputs are compared before training. Each row was measured in turns with the first.",
        )

    return comparison


class _Peers:
    """Makes the peers for one model and a number of texts."""

    def __init__(self, plan: Plan, model: str, count: int):
        self._plan = plan
        self._model = model
        self._count = count

    def peer(
        self, name: str, library: Library, function: str, form: str = "transformers", **settings
    ) -> Peer:
        told = {"texts": self._plan.texts(self._count), "batch_size": _BATCH_SIZE, **settings}

        def job() -> Job:
            return library.job(
                function, {"model": self._plan.models.directory(self._model, form), **told}
            )

        return Peer(name, job, self._count)

    def keras_hub(self) -> Peer:
        count = min(self._count, _KERAS_HUB_TEXTS)
        told = {"texts": self._plan.texts(count), "batch_size": _KERAS_HUB_BATCH_SIZE}
        peer = self.peer("KerasHub fit", KERAS_HUB, "training", "keras_hub", **told)
        note = (
            f"{count} texts in batches of {_KERAS_HUB_BATCH_SIZE}, for memory's sake: each text "
            f"costs 512 tokens, so that all would take as long."
        )
        return replace(peer, work=count, note=note)
