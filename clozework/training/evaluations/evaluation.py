"""What all evaluations have in common."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clozework.errors import MissingPackageError, NoExamplesError

__all__ = [
    "Evaluation",
    "ScoreTable",
    "TextLengths",
    "check_examples",
    "import_scores",
    "measured_lengths",
]


@dataclass(frozen=True)
class ScoreTable:
    """Rows of cells under a header; cells from `first_number` on are numbers."""

    header: list[str]
    rows: list[list[str]]
    first_number: int = 1


@dataclass(frozen=True)
class TextLengths:
    """How long texts are, and how many are cut.

    Attributes:
        counts: Number of tokens of each text.
        longest_text: How many tokens the model reads.
        num_cut: How many texts are longer.
    """

    counts: list[int]
    longest_text: int
    num_cut: int


@dataclass(frozen=True)
class Evaluation(ABC):
    """What a model gets right of examples that it has not been trained on.

    Abstract: there is one kind for each job.

    Attributes:
        lengths: Of the texts.
    """

    lengths: TextLengths

    @abstractmethod
    def summary(self) -> str:
        """Returns the main figures, in a sentence."""

    @abstractmethod
    def scores(self) -> ScoreTable:
        """Returns the scores in detail."""

    @abstractmethod
    def worst(self) -> ScoreTable:
        """Returns the examples that are the farthest from right."""


def measured_lengths(task, texts: Sequence[str]) -> TextLengths:
    """Returns how long texts are, to the tokenizer of a task."""
    counts = [len(ids) for ids in task.preprocessor.tokenizer.encode_ids(list(texts))]
    preprocessor = task.preprocessor
    # An encoder and a decoder have rows of their own; a start and an end token are in each.
    room = getattr(preprocessor, preprocessor.length_names[0]) - 2
    return TextLengths(counts, room, sum(count > room for count in counts))


def check_examples(examples: Sequence) -> None:
    """Raises `NoExamplesError` if there are none to evaluate."""
    if not len(examples):
        raise NoExamplesError("There are no examples to evaluate. Give one at least.")


def import_scores(module: str, package: str) -> Any:
    """Imports what computes scores.

    Raises:
        MissingPackageError: If it is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"These scores are computed by {package}. Install it: pip install {package}, or all "
            f"that reports can use: pip install clozework[train]"
        ) from error
