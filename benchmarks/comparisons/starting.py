"""From a new process to its first answer."""

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import (
    CLOZEWORK,
    CLOZEWORK_ON_OPENVINO,
    KERAS_HUB,
    TRANSFORMERS,
)

__all__ = ["start"]

_MODEL = "roberta_base"


def start(plan: Plan) -> Comparison:
    """A classifier of RoBERTa's size and one text; programs were compiled by an earlier process."""
    model = plan.models.directory(_MODEL)
    settings = {"model": model, "texts": plan.texts(1), "dtype": "float32"}
    in_keras = {**settings, "graph": plan.models.directory(_MODEL, "keras_hub")}
    one_by_one = {"is_compiled": False, "is_sorted": False, "batch_size": 1, "padding_id": 1}
    jobs = {
        OURS: CLOZEWORK.job("classifier", settings),
        f"{OURS} on OpenVINO": CLOZEWORK_ON_OPENVINO.job("classifier", settings),
        "transformers pipeline": TRANSFORMERS.job("pipeline", settings),
        "transformers model and tokenizer": TRANSFORMERS.job(
            "classifier", {**settings, **one_by_one}
        ),
        "KerasHub": KERAS_HUB.job("classifier", in_keras),
    }
    return Comparison(
        title="A new process",
        unit="starts",
        peers=tuple(
            Peer(name, lambda job=job: job, 1, is_fresh=True) for name, job in jobs.items()
        ),
        reference="transformers pipeline",
        text="From the start of Python to the logits of one text, with RoBERTa-base from disk.",
    )
