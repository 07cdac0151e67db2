"""From strings to rows of token ids."""

from benchmarks.comparisons.comparison import OURS, Comparison, Peer, Plan
from benchmarks.comparisons.libraries import CLOZEWORK, KERAS_HUB, TRANSFORMERS

__all__ = ["tokenize"]

_MODEL = "roberta_base"


def tokenize(plan: Plan) -> Comparison:
    """Ten texts for each that other comparisons have: 10,000 unless an option says otherwise."""
    count = 10 * plan.num_texts
    model = plan.models.directory(_MODEL)
    settings = {"model": model, "texts": plan.texts(count)}
    in_keras = {**settings, "model": f"{plan.models.directory(_MODEL, 'keras_hub')}/preset"}
    jobs = {
        f"{OURS} preprocessor": CLOZEWORK.job("preprocessor", settings),
        "tokenizers, ids alone": CLOZEWORK.job("rust_tokenizer", settings),
        "transformers tokenizer": TRANSFORMERS.job("tokenizer", settings),
        "KerasHub preprocessor": KERAS_HUB.job("preprocessor", in_keras),
    }
    return Comparison(
        title="Tokens of texts",
        unit="texts",
        peers=tuple(Peer(name, lambda job=job: job, count) for name, job in jobs.items()),
        reference="transformers tokenizer",
        text=f"{count:,} texts, from strings to arrays of 512 tokens a text, RoBERTa's vocabulary. "
        f"They are the same in each run: after the first, {OURS} remembers all of their words.",
    )
