"""Classifying texts, from strings to logits."""

from dataclasses import replace

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import (
    CLOZEWORK,
    CLOZEWORK_ON_OPENVINO,
    CLOZEWORK_ON_TORCH,
    KERAS_HUB,
    TRANSFORMERS,
    Library,
)
from benchmarks.processes import Job

__all__ = ["PADDING_IDS", "predict_deberta", "predict_precisions", "predict_roberta"]

# The id of padding, by model.
PADDING_IDS = {"roberta_base": 1, "deberta_v3_base": 0}
_OWN = {"jax": CLOZEWORK, "torch": CLOZEWORK_ON_TORCH, "openvino": CLOZEWORK_ON_OPENVINO}
_SORTED_32 = {"is_sorted": True, "batch_size": 32}
_UNSORTED_32 = {"is_sorted": False, "batch_size": 32}
_BUDGET = {"is_sorted": True, "budget": 2048}
# KerasHub computes 512 tokens for every text: each takes as long as any other.
_KERAS_HUB_TEXTS = 32


def predict_roberta(plan: Plan) -> Comparison:
    """RoBERTa-base in float32, against everything that runs it."""
    peers = _Peers(plan, "roberta_base")
    return Comparison(
        title="RoBERTa-base classifier: `predict`, float32",
        unit="tokens",
        peers=(
            *_own(peers),
            peers.keras_hub(),
            peers.pipeline(),
            *_plain(peers),
            peers.transformers("torch.compile, token budget", _BUDGET, is_compiled=True),
            peers.runtime("ONNX Runtime, token budget", "onnxruntime", "onnx"),
            peers.runtime("OpenVINO, token budget", "openvino", "openvino", precision="f32"),
            peers.runtime(
                "CTranslate2, token budget", "ctranslate2", "ctranslate2", precision="float32"
            ),
            peers.runtime(
                "CTranslate2, sorted batches of 32",
                "ctranslate2",
                "ctranslate2",
                precision="float32",
                **_SORTED_32,
            ),
        ),
        reference="transformers SDPA, token budget",
        text=peers.text(),
    )


def predict_deberta(plan: Plan) -> Comparison:
    """DeBERTaV3-base in float32; CTranslate2 has no DeBERTa."""
    peers = _Peers(plan, "deberta_v3_base")
    return Comparison(
        title="DeBERTaV3-base classifier: `predict`, float32",
        unit="tokens",
        peers=(
            *_own(peers),
            peers.keras_hub(),
            peers.pipeline(),
            *_plain(peers),
            peers.transformers("torch.compile, token budget", _BUDGET, is_compiled=True),
            peers.runtime("ONNX Runtime, token budget", "onnxruntime", "onnx"),
            peers.runtime("OpenVINO, token budget", "openvino", "openvino", precision="f32"),
        ),
        reference="transformers SDPA, token budget",
        text=peers.text(),
    )


def predict_precisions(plan: Plan) -> Comparison:
    """RoBERTa-base in bfloat16 and with 8-bit products."""
    peers = _Peers(plan, "roberta_base")
    return Comparison(
        title="RoBERTa-base classifier: `predict` in lower precision",
        unit="tokens",
        peers=(
            peers.own("float32"),
            peers.own("bfloat16", dtype="bfloat16"),
            peers.own("int8", quantization="int8"),
            peers.own("int8, bfloat16 elsewhere", dtype="bfloat16", quantization="int8"),
            peers.own("float32 on OpenVINO", backend="openvino"),
            peers.own("bfloat16 on OpenVINO", backend="openvino", dtype="bfloat16"),
            peers.own("int8 on OpenVINO", backend="openvino", quantization="int8"),
            peers.own("float32 on PyTorch", backend="torch"),
            peers.own("bfloat16 on PyTorch", backend="torch", dtype="bfloat16"),
            peers.own("int8 on PyTorch", backend="torch", quantization="int8"),
            peers.transformers("SDPA, token budget", _BUDGET),
            peers.transformers("SDPA, token budget, bfloat16", _BUDGET, dtype="bfloat16"),
            peers.runtime("OpenVINO, bfloat16", "openvino", "openvino", precision="bf16"),
            peers.runtime("OpenVINO, int8", "openvino", "openvino_int8", precision="f32"),
            peers.runtime(
                "CTranslate2, bfloat16", "ctranslate2", "ctranslate2", precision="bfloat16"
            ),
            peers.runtime("CTranslate2, int8", "ctranslate2", "ctranslate2", precision="int8"),
        ),
        reference="transformers SDPA, token budget",
        text=f"{peers.text()} Peers have token budgets of 2,048.",
    )


def _own(peers: "_Peers") -> tuple[Peer, ...]:
    return (
        peers.own("predict"),
        peers.own("predict on OpenVINO", backend="openvino"),
        peers.own("predict on PyTorch", backend="torch"),
        peers.limit(),
    )


def _plain(peers: "_Peers") -> tuple[Peer, ...]:
    return (
        peers.transformers("SDPA, batches of 32", _UNSORTED_32),
        peers.transformers("SDPA, sorted batches of 32", _SORTED_32),
        peers.transformers("SDPA, token budget", _BUDGET),
    )


class _Peers:
    """Makes the peers for one model and the plan's texts."""

    def __init__(self, plan: Plan, model: str):
        self._plan = plan
        self._model = model
        self._texts = plan.texts()
        self._tokens = plan.num_tokens(model, self._texts)
        self._settings = {
            "texts": self._texts,
            "model": plan.models.directory(model),
            "dtype": "float32",
            "padding_id": PADDING_IDS[model],
        }

    def text(self) -> str:
        """Says what is computed."""
        return (
            f"{self._plan.num_texts:,} texts with {self._tokens:,} tokens, from strings to logits."
        )

    def own(self, name: str, *, backend: str = "jax", **settings) -> Peer:
        return self._peer(f"{OURS} {name}", _OWN[backend], "classifier", **settings)

    def limit(self) -> Peer:
        """Rows full of tokens, about as many as the texts have."""
        length, batch_size = 128, 8
        num_rows = max(1, self._tokens // length // batch_size) * batch_size
        shape = {"row_length": length, "num_rows": num_rows, "batch_size": batch_size}
        peer = self._peer(f"{OURS} on full rows, 8 x 128", _OWN["jax"], "full_rows", **shape)
        note = "Token ids in rows without padding, in place of texts: the limit."
        return replace(peer, work=length * num_rows, is_compared=False, note=note)

    def keras_hub(self) -> Peer:
        count = min(_KERAS_HUB_TEXTS, self._plan.num_texts)
        texts = {"texts": self._plan.texts(count)}
        peer = self._peer("KerasHub predict", KERAS_HUB, "classifier", "keras_hub", **texts)
        note = f"Measured on {count} texts; each costs 512 tokens, so that all would take as long."
        return replace(peer, work=self._tokens * count / self._plan.num_texts, note=note)

    def pipeline(self) -> Peer:
        return self._peer("transformers pipeline, batches of 32", TRANSFORMERS, "pipeline")

    def transformers(self, name: str, batches: dict, **settings) -> Peer:
        settings = {"is_compiled": False, **batches, **settings}
        return self._peer(f"transformers {name}", TRANSFORMERS, "classifier", **settings)

    def runtime(self, name: str, package: str, form: str, **settings) -> Peer:
        library = Library(package, "runtimes", (package,))
        settings = {**_BUDGET, **settings}
        return self._peer(name, library, f"{package}_classifier", form, **settings)

    def _peer(
        self, name: str, library: Library, function: str, form: str | None = None, **settings
    ) -> Peer:
        def job() -> Job:
            graph = {"graph": self._plan.models.directory(self._model, form)} if form else {}
            return library.job(function, {**self._settings, **settings, **graph})

        return Peer(name, job, self._tokens)
