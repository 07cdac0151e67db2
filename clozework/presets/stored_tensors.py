"""Tensors in weight files: described without being read, read one by one."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from clozework.errors import WeightsError

__all__ = ["StoredTensor", "StoredTensors", "map_file", "weights_error"]

_MAX_DIMENSIONS = 32


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a weight file.

    Attributes:
        shape: its shape.
        dtype: its NumPy type; `bfloat16` and the 8-bit floats are those of `ml_dtypes`.
        file: the name of its file within the preset, for messages.
        read: returns the values; read-only and memory-mapped where the format allows it.
        span: the first byte in the file and the one behind the last, if it lies there in one piece.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    file: str
    read: Callable[[], np.ndarray]
    span: tuple[int, int] | None = None


class StoredTensors(Mapping[str, np.ndarray]):
    """The tensors of a preset's weight files: a mapping that reads a tensor when it is asked for.

    `entries` tells shape, type and file of each without reading it.
    """

    def __init__(self, entries: Mapping[str, StoredTensor]):
        self.entries = entries

    def __getitem__(self, name: str) -> np.ndarray:
        return self.entries[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<StoredTensors: {len(self)}>"


def weights_error(file: str, tensor: str | None, reason: str) -> WeightsError:
    """Returns the error that names the file and, where one is known, the tensor in it."""
    place = f"Weights file {file!r}" + (f", tensor {tensor!r}" if tensor else "")
    return WeightsError(f"{place}: {reason}. Get the file anew from its source.")


def map_file(path: Path) -> np.ndarray:
    """Returns the bytes of a file, mapped into memory and read-only."""
    if path.stat().st_size == 0:
        return np.empty(0, np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)


def num_elements(shape: object) -> int | None:
    """Returns how many elements a tensor of that shape has, or None if it cannot be a shape."""
    if not isinstance(shape, list | tuple) or len(shape) > _MAX_DIMENSIONS:
        return None
    if not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        return None
    return math.prod(shape)


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
