"""What is said about repeated measurements: medians, with the lowest and the highest."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

__all__ = ["Figure", "Measured", "difference", "figure_of", "ratios"]


@dataclass(frozen=True)
class Figure:
    """A median with its spread."""

    median: float
    lowest: float
    highest: float


@dataclass
class Measured:
    """What was measured of one peer.

    Attributes:
        name: Of the peer.
        work: How much of the comparison's unit one repetition does.
        first: Seconds of the first run, with whatever is compiled in it; not counted.
        seconds: Of each repetition.
        memory: Highest resident memory of its process, in MB.
        agreement: How its outputs compare with the reference's.
        versions: Of its packages.
        note: What is special about how it is measured.
        seconds_of_first: Of the first peer in the same rounds, where it was measured in pairs.
    """

    name: str
    work: float
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    memory: float = 0.0
    agreement: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    seconds_of_first: list[float] = field(default_factory=list)

    def rates(self) -> list[float]:
        """Returns units of work a second, of each repetition."""
        return [self.work / seconds for seconds in self.seconds]

    def as_dict(self) -> dict[str, Any]:
        """Returns what `Measured(**...)` takes."""
        return asdict(self)


def figure_of(values: Sequence[float]) -> Figure:
    """Returns the median of values and their spread."""
    return Figure(statistics.median(values), min(values), max(values))


def ratios(ours: Measured, peer: Measured) -> Figure:
    """Returns how many times as fast we are, round by round: a noisy moment hits both."""
    seconds = peer.seconds_of_first or ours.seconds
    pairs = zip(seconds, peer.rates(), strict=True)
    return figure_of([ours.work / own / other for own, other in pairs])


def difference(outputs: np.ndarray, reference: np.ndarray) -> str:
    """Says how outputs differ from a reference, which may have more rows.

    Floats: the largest difference, and how much the reference's rows differ among themselves; for
    logits also the share of equal classes.
    Integers and strings: the share of equal ones.

    Raises:
        ValueError: If all rows of floats of the reference are the same, which tells nothing.
    """
    is_float = np.issubdtype(reference.dtype, np.floating)
    # Texts of random weights may be the same, whatever they are written for.
    if is_float and len(reference) > 1 and (reference == reference[:1]).all():
        raise ValueError(
            f"The reference gives the same {len(reference)} times: were its texts read? See the "
            f"tokenizer of the model that was prepared."
        )
    reference = reference[: len(outputs)]
    if outputs.shape != reference.shape:
        return f"shape {outputs.shape}, not {reference.shape}"
    if not np.issubdtype(outputs.dtype, np.floating):
        return f"{np.mean(outputs == reference):.2%} equal"
    largest = np.max(np.abs(outputs - reference))
    spread = np.mean(np.std(reference, axis=0))
    said = f"{largest:.1e} of {spread:.1e}"
    if reference.ndim != 2 or reference.shape[1] == 1:
        return said
    return f"{said}, {np.mean(outputs.argmax(axis=1) == reference.argmax(axis=1)):.1%} same class"
