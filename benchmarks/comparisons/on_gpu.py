"""Classifying and fine-tuning on one GPU, with products of bfloat16."""

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
from benchmarks.comparisons.prediction import PADDING_IDS
from benchmarks.processes import Job

__all__ = ["fit_on_gpu", "predict_on_gpu"]

# JAX would take most of the GPU's memory for itself, of which every peer needs some.
_SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_BUDGET = {"is_sorted": True, "budget": 16384, "is_compiled": False}
_KERAS_HUB_TEXTS = 1024
_BATCH_SIZE = 32
_NOTE_OF_KERAS_HUB = (
    "{} texts, as each costs 512 tokens; from token ids, as TensorFlow's tokenizers are not there."
)


def predict_on_gpu(model: str, title: str) -> Callable[[Plan], Comparison]:
    """Returns the comparison of `predict` for a model."""

    def comparison(plan: Plan) -> Comparison:
        peers = _Peers(plan, model, plan.num_texts)
        padded = {**_BUDGET, "dtype": "bfloat16"}
        sorted_32 = {**padded, "batch_size": 32}
        return Comparison(
            title=f"{title} on a GPU: `predict`, bfloat16",
            unit="tokens",
            peers=(
                peers.peer(f"{OURS} predict", CLOZEWORK, "classifier", dtype="bfloat16"),
                peers.peer(
                    f"{OURS} predict on PyTorch",
                    CLOZEWORK_ON_TORCH,
                    "classifier",
                    dtype="bfloat16",
                ),
                peers.limit(),
                peers.keras_hub("classifier_of_ids", dtype="bfloat16"),
                peers.peer(
                    "transformers pipeline, batches of 32",
                    TRANSFORMERS,
                    "pipeline",
                    dtype="bfloat16",
                ),
                peers.peer(
                    "transformers SDPA, sorted batches of 32",
                    TRANSFORMERS,
                    "classifier",
                    **sorted_32,
                ),
                peers.peer("transformers SDPA, token budget", TRANSFORMERS, "classifier", **padded),
                peers.peer(
                    "transformers torch.compile, token budget",
                    TRANSFORMERS,
                    "classifier",
                    **{**padded, "is_compiled": True},
                ),
                peers.peer(
                    "transformers SDPA, token budget, float32",
                    TRANSFORMERS,
                    "classifier",
                    **_BUDGET,
                    dtype="float32",
                ),
            ),
            reference="transformers SDPA, token budget, float32",
            text=f"{plan.num_texts:,} texts with {peers.tokens:,} tokens, from strings to logits. "
            "Token budgets are of 16,384. Memory is that of the GPU.",
        )

    return comparison


def fit_on_gpu(model: str, title: str) -> Callable[[Plan], Comparison]:
    """Returns the comparison of fine-tuning a model."""

    def comparison(plan: Plan) -> Comparison:
        peers = _Peers(plan, model, plan.num_texts, unit_is_texts=True)
        size = {"batch_size": _BATCH_SIZE, "dtype": "mixed_bfloat16"}
        return Comparison(
            title=f"{title} on a GPU: fine-tuning, bfloat16",
            unit="examples",
            peers=(
                peers.peer(f"{OURS} fit", CLOZEWORK, "training", **size),
                peers.peer(f"{OURS} fit on PyTorch", CLOZEWORK_ON_TORCH, "training", **size),
                peers.keras_hub("training_of_ids", **size),
                peers.peer("PyTorch loop", TRANSFORMERS, "training", is_grouped=False, **size),
                peers.peer(
                    "PyTorch loop, like lengths", TRANSFORMERS, "training", is_grouped=True, **size
                ),
            ),
            reference="PyTorch loop",
            text=f"One epoch of {plan.num_texts:,} texts in batches of {_BATCH_SIZE}, with Adam or "
            "AdamW; weights are float32. Outputs are compared before training. Memory is that of "
            "the GPU.",
        )

    return comparison


class _Peers:
    """Makes the peers for one model and a number of texts."""

    def __init__(self, plan: Plan, model: str, count: int, *, unit_is_texts: bool = False):
        self._plan = plan
        self._model = model
        self._count = count
        self.tokens = plan.num_tokens(model, plan.texts(count))
        self._work = count if unit_is_texts else self.tokens

    def peer(
        self, name: str, library: Library, function: str, form: str = "transformers", **settings
    ) -> Peer:
        source = self._plan.models.directory(self._model)
        told = {
            "texts": self._plan.texts(self._count),
            "tokenizer": source,
            "padding_id": PADDING_IDS[self._model],
            "device": "cuda",
            **settings,
        }
        library = replace(library, variables={**library.variables, **_SHARED_GPU})

        def job() -> Job:
            directory = self._plan.models.directory(self._model, form)
            return library.job(function, {"model": directory, "graph": directory, **told})

        return Peer(name, job, self._work)

    def limit(self) -> Peer:
        """Rows full of tokens, about as many as the texts have."""
        length, batch_size = 512, 32
        num_rows = max(1, self.tokens // length // batch_size) * batch_size
        shape = {"row_length": length, "num_rows": num_rows, "batch_size": batch_size}
        peer = self.peer(
            f"{OURS} on full rows, {batch_size} x {length}",
            CLOZEWORK,
            "full_rows",
            dtype="bfloat16",
            **shape,  # type: ignore[arg-type]
        )
        note = "Token ids in rows without padding, in place of texts: the limit."
        return replace(peer, work=length * num_rows, is_compared=False, note=note)

    def keras_hub(self, function: str, **settings) -> Peer:
        count = min(_KERAS_HUB_TEXTS, self._count)
        texts = {"texts": self._plan.texts(count)}
        peer = self.peer("KerasHub", KERAS_HUB, function, "keras_hub", **texts, **settings)
        note = _NOTE_OF_KERAS_HUB.format(count)
        return replace(peer, work=self._work * count / self._count, note=note)
