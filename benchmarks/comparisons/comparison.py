"""The records of a comparison, and what all of them are made from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.prepared import Models
from benchmarks.processes import Job
from benchmarks.texts import documents, fetch_speeches, short_texts, texts_of_usual_length
from benchmarks.workers.padded_batches import tokenizer_of

__all__ = ["OURS", "Comparison", "Peer", "Plan"]

# What the name of our own measurements begins with.
OURS = "Clozework"


@dataclass(frozen=True)
class Peer:
    """One row of a comparison.

    Attributes:
        name: Library and manner.
        job: Gives what its process does; writes the model in the peer's format first.
        work: How much of the comparison's unit one run does.
        is_fresh: Whether each run is a new process, whose start counts.
        is_compared: Whether its outputs should be the reference's.
        note: What is special about how it is measured.
    """

    name: str
    job: Callable[[], Job]
    work: float
    is_fresh: bool = False
    is_compared: bool = True
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Peers that do the same.

    Attributes:
        title: A heading.
        unit: Of the work, in the plural.
        peers: The first one's rate is that which is divided by the others'.
        reference: Name of the peer with whose outputs all others are compared.
        text: What is measured.
        is_in_pairs: Whether the first peer is measured with one other at a time, for memory's
            sake; it is the reference as well.
    """

    title: str
    unit: str
    peers: tuple[Peer, ...]
    reference: str
    text: str
    is_in_pairs: bool = False


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        cache: Folder of the benchmarks.
        num_texts: Number of texts.
        num_layers: Number of layers in place of the real ones, for a trial.
    """

    cache: Path
    num_texts: int
    num_layers: int | None = None

    @cached_property
    def models(self) -> Models:
        """The models, in all formats."""
        return Models(self.cache, self.num_layers)

    @cached_property
    def words(self) -> list[str]:
        """The words that texts are cut from."""
        return fetch_speeches(self.cache)

    def texts(self, count: int | None = None) -> str:
        """Returns a file with texts of usual length, one a line."""
        return self._file("texts", texts_of_usual_length, count or self.num_texts)

    def short_texts(self, count: int) -> str:
        """Returns a file with short texts, one a line."""
        return self._file("short_texts", short_texts, count)

    def documents(self, count: int) -> str:
        """Returns a file with texts of several sentences, one a line."""
        return self._file("documents", documents, count)

    def num_tokens(self, model: str, texts: str) -> int:
        """Returns how many tokens of texts a model reads: no padding, at most 512 a text."""
        tokenizer = tokenizer_of(self.models.directory(model))
        lines = Path(texts).read_text(encoding="utf-8").splitlines()
        return sum(len(row.ids) for row in tokenizer.encode_batch_fast(lines))

    def _file(self, name: str, cut: Callable[[list[str], int], list[str]], count: int) -> str:
        path = self.cache / "texts" / f"{name}_{count}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(cut(self.words, count)) + "\n", encoding="utf-8")
        return str(path)
