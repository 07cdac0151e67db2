"""Generating texts with BART."""

from collections.abc import Callable

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import (
    CLOZEWORK,
    CLOZEWORK_ON_TORCH,
    KERAS_HUB,
    TRANSFORMERS,
    Library,
)
from benchmarks.processes import Job

__all__ = ["generate"]

_NUM_TEXTS = 8
_NUM_TOKENS = 64


def generate(num_beams: int) -> Callable[[Plan], Comparison]:
    """Returns the comparison for a number of beams; one is greedy search."""
    manner = "greedy" if num_beams == 1 else f"{num_beams} beams"

    def comparison(plan: Plan) -> Comparison:
        num_tokens = _NUM_TOKENS if plan.num_layers is None else _NUM_TOKENS // 8
        settings = {
            "texts": plan.documents(_NUM_TEXTS),
            "num_beams": num_beams,
            "num_tokens": num_tokens,
        }

        def peer(name: str, library: Library, form: str = "transformers") -> Peer:
            def job() -> Job:
                model = plan.models.directory("bart_base")
                graph = plan.models.directory("bart_base", form)
                return library.job("generation", {**settings, "model": model, "graph": graph})

            return Peer(name, job, _NUM_TEXTS * num_tokens)

        return Comparison(
            title=f"BART-base: `generate`, {manner}, float32",
            unit="new tokens",
            peers=(
                peer(f"{OURS} generate", CLOZEWORK),
                peer(f"{OURS} generate on PyTorch", CLOZEWORK_ON_TORCH),
                peer("KerasHub generate", KERAS_HUB, "keras_hub"),
                peer("transformers generate", TRANSFORMERS),
                peer(
                    "CTranslate2",
                    Library("ctranslate2", "runtimes", ("ctranslate2",)),
                    "ctranslate2",
                ),
            ),
            reference="transformers generate",
            text=f"{_NUM_TEXTS} texts of about 90 words, {num_tokens} new tokens for each. Texts "
            "that come out are compared.",
        )

    return comparison
