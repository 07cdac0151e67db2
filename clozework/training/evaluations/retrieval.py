"""Whether a trained embedder finds what belongs to a text among everything else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clozework.training.evaluations.evaluation import (
    Evaluation,
    ScoreTable,
    check_examples,
    measured_lengths,
)

__all__ = ["FarDocument", "RetrievalEvaluation", "evaluate_embedder"]

_CUTOFFS = (1, 3, 10)
_NUM_MISTAKES = 20
# Queries that are compared with all documents at once.
_QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class FarDocument:
    """A query whose own document is not the nearest.

    Attributes:
        query, document: The pair.
        rank: Place of the document among all of them, from 1.
        nearest: The document that is nearest.
    """

    query: str
    document: str
    rank: int
    nearest: str


@dataclass(frozen=True)
class RetrievalEvaluation(Evaluation):
    """What `evaluate_embedder` found.

    Attributes:
        recall_at: Share of queries whose document is among the nearest 1, 3 and 10, by that number.
        mean_reciprocal_rank: Mean of 1 / rank.
        num_queries, num_documents: How many there are; documents that are equal count as one.
        mistakes: The documents that are the farthest.
        lengths: Of the queries.
    """

    recall_at: dict[int, float]
    mean_reciprocal_rank: float
    num_queries: int
    num_documents: int
    mistakes: list[FarDocument]

    def summary(self):
        return (
            f"Of {self.num_queries} queries {self.recall_at[1]:.1%} find their own document first, "
            f"among {self.num_documents}; the mean reciprocal rank is "
            f"{self.mean_reciprocal_rank:.3f}."
        )

    def scores(self):
        rows = [
            [f"own document among the nearest {k}", f"{v:.1%}"] for k, v in self.recall_at.items()
        ]
        return ScoreTable(
            ["score", "value"],
            [*rows, ["mean reciprocal rank", f"{self.mean_reciprocal_rank:.3f}"]],
        )

    def worst(self):
        rows = [[one.query, one.document, one.nearest, str(one.rank)] for one in self.mistakes]
        return ScoreTable(["query", "its document", "nearest", "rank"], rows, first_number=3)


def evaluate_embedder(embedder, pairs: Sequence[Sequence[str]]) -> RetrievalEvaluation:
    """Returns whether a query's own document is the nearest of all documents.

    Args:
        embedder: A `TextEmbedder`.
        pairs: A query and its document each; what else an example has is a document, too.

    Raises:
        NoExamplesError: If there are none.

    Example:
    >>> from clozework import models
    >>> embedder = models.TextEmbedder.from_preset("deberta_v3_tiny_en_demo")
    >>> evaluate_embedder(embedder, [("the sea", "the sea"), ("to Rome", "to Rome")]).recall_at[1]
    1.0
    """
    check_examples(pairs)
    queries = [pair[0] for pair in pairs]
    documents = list(dict.fromkeys(text for pair in pairs for text in pair[1:]))
    places = {text: i for i, text in enumerate(documents)}
    own = np.array([places[pair[1]] for pair in pairs])
    vectors = embedder.embed(documents)
    ranks, nearest = [], []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        likeness = embedder.similarity(embedder.embed(queries[part]), vectors)
        of_own = np.take_along_axis(likeness, own[part, None], axis=1)
        # Its own document comes behind all that are as near, and behind all where nothing is known.
        ranks += (~(likeness < of_own)).sum(axis=1).tolist()
        nearest += likeness.argmax(axis=1).tolist()
    far = sorted((i for i in range(len(queries)) if ranks[i] > 1), key=lambda i: -ranks[i])
    return RetrievalEvaluation(
        lengths=measured_lengths(embedder, queries),
        recall_at={k: float(np.mean(np.array(ranks) <= k)) for k in _CUTOFFS},
        mean_reciprocal_rank=float(np.mean(1 / np.array(ranks))),
        num_queries=len(queries),
        num_documents=len(documents),
        mistakes=[
            FarDocument(queries[i], documents[own[i]], ranks[i], documents[nearest[i]])
            for i in far[:_NUM_MISTAKES]
        ],
    )
