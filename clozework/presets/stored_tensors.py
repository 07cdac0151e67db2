"""Tensors in weight files: described without being read, read one by one."""

import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from clozework.errors import WeightsError

__all__ = ["FileBytes", "StoredTensor", "StoredTensors", "weights_error"]

_MAX_DIMENSIONS = 32
# As XLA wants it, whose buffers on a CPU start at multiples of it.
_ALIGNMENT = 64
# Of a matrix that is turned, so much is read at a time, and so many rows of it are written: both
# stay in the processor's caches.
_BYTES_READ = 2**19
_ROWS_WRITTEN = 8


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a weight file.

    Attributes:
        shape: its shape.
        dtype: its NumPy type; `bfloat16` and the 8-bit floats are those of `ml_dtypes`.
        file: the name of its file within the preset, for messages.
        read: returns the values, read-only; the file is read each time.
        span: the first byte in the file and the one behind the last, if it lies there in one piece.
        read_rows: returns the values from one index of the first axis to another, if a part of the
            tensor can be read.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    file: str
    read: Callable[[], np.ndarray]
    span: tuple[int, int] | None = None
    read_rows: Callable[[int, int], np.ndarray] | None = None

    def read_turned(self) -> np.ndarray:
        """Returns the values of a matrix with its axes exchanged.

        They have memory of their own, and there is no second copy of the matrix if a part of it can
        be read: memory that is new to a process takes longer than all the rest.
        """
        num_rows, row_length = self.shape
        turned = _aligned_memory(num_rows * row_length * self.dtype.itemsize)
        turned = turned.view(self.dtype).reshape(row_length, num_rows)
        read_rows = self.read_rows or _part_of(self.read())
        num_read = max(_BYTES_READ // max(row_length * self.dtype.itemsize, 1), 1)
        for start in range(0, num_rows, num_read):
            rows = read_rows(start, min(start + num_read, num_rows))
            for i in range(0, len(rows), _ROWS_WRITTEN):
                part = rows[i : i + _ROWS_WRITTEN]
                turned[:, start + i : start + i + len(part)] = part.T
        return turned


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


class FileBytes:
    """The bytes of a file, read when they are asked for, even after another took its place.

    A mapped file would stay in memory beside the weights that were made of it. Each part has memory
    of its own, at an address from which JAX takes it over without a copy.

    Args:
        path: The file.
        name: Its name within the preset, for messages.
    """

    def __init__(self, path: Path, name: str):
        self._name = name
        self._stream = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        weakref.finalize(self, self._stream.close)
        self.size = os.fstat(self._stream.fileno()).st_size

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self.size)
        num_bytes = max(stop - start, 0)
        values = _aligned_memory(num_bytes).data
        with self._lock:
            self._stream.seek(start)
            # A read gives 2 GiB at most.
            done = 0
            while done < num_bytes:
                count = self._stream.readinto(values[done:])
                if not count:
                    raise weights_error(self._name, None, "it was cut short while it was read")
                done += count
        return np.frombuffer(values.toreadonly(), np.uint8)


def _aligned_memory(num_bytes: int) -> np.ndarray:
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    first = -buffer.ctypes.data % _ALIGNMENT
    return buffer[first : first + num_bytes]


def _part_of(values: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: values[start:stop]


def num_elements(shape: object) -> int | None:
    """Returns how many elements a tensor of that shape has, or None if it cannot be a shape."""
    if not isinstance(shape, list | tuple) or len(shape) > _MAX_DIMENSIONS:
        return None
    if not all(type(size) is int and 0 <= size < 2**62 for size in shape):
        return None
    return math.prod(shape)


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
