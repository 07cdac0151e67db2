"""The weight files of Hugging Face's `transformers`: safetensors or PyTorch, whole or in shards.

The format of safetensors: https://github.com/huggingface/safetensors#format. It is read here,
not by that package, because a header from outside must be checked against the file, with names in
the messages, and because `bfloat16` has no NumPy type there.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np

from clozework.errors import PresetNotFoundError, WeightsError
from clozework.presets.files import PresetFiles
from clozework.presets.stored_tensors import (
    BFLOAT16,
    FileBytes,
    StoredTensor,
    StoredTensors,
    num_elements,
    weights_error,
)
from clozework.presets.torch_file import read_torch

__all__ = ["open_tensors", "read_safetensors", "write_safetensors"]

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}
_NAMES_OF_DTYPES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER_BYTES = 100 * 2**20
# Later keys of the header start at this multiple, so that a mapped file gives aligned arrays.
_ALIGNMENT = 8

_Entries = dict[str, StoredTensor]
_Reader = Callable[[PresetFiles, str], _Entries]


def open_tensors(files: PresetFiles) -> StoredTensors:
    """Opens the weights of a directory that `transformers` wrote.

    Takes `model.safetensors`, else its shards, else `pytorch_model.bin`, else its shards. Headers
    are read and checked at once, values when they are asked for.

    Raises `PresetNotFoundError` if there is none of them, `WeightsError` for damaged files.
    """
    for name, reader in _FILES.items():
        if files.has(name):
            return StoredTensors(reader(files, name))
    raise PresetNotFoundError(
        f"Preset {files.name} has no weights in a format of transformers. Expected one of: "
        f"{', '.join(_FILES)}."
    )


def read_safetensors(files: PresetFiles, name: str) -> _Entries:
    """Returns the tensors of one safetensors file, each read when it is asked for."""
    content = FileBytes(files.path(name), name)
    header, start = _read_header(content, name)
    entries: _Entries = {}
    spans: list[tuple[int, int, str]] = []
    for tensor, description in header.items():
        if tensor == "__metadata__":
            continue
        dtype, shape, begin, end = _check_description(description, tensor, name)
        if start + end > content.size:
            raise weights_error(
                name, tensor, f"it ends at byte {start + end}, but the file has {content.size}"
            )
        spans.append((begin, end, tensor))
        span = (start + begin, start + end)
        entries[tensor] = StoredTensor(
            shape,
            dtype,
            name,
            read=partial(_read_span, content, span, dtype, shape),
            span=span,
            read_rows=partial(_read_rows, content, span[0], dtype, shape),
        )
    _check_spans(spans, content.size - start, name)
    return entries


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors to a safetensors file, one after the other.

    Arguments:
        path: the file, overwritten if it exists.
        tensors: name -> values. Values are asked for twice, once for their shape and once to be
            written, so a lazy mapping never holds more than one of them.
        metadata: strings for the header; by default `{"format": "pt"}`, without which transformers
            refuses a file.

    >>> import pathlib, tempfile
    >>> from clozework.presets.files import LocalFiles
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     write_safetensors(f"{directory}/model.safetensors", {"weight": np.ones((2, 3))})
    ...     open_tensors(LocalFiles(directory))["weight"].sum()
    np.float64(6.0)
    """
    described = {name: _describe(tensors[name]) for name in tensors}
    unknown = sorted(n for n, (dtype, _) in described.items() if dtype not in _NAMES_OF_DTYPES)
    if unknown:
        raise WeightsError(
            f"Tensor {unknown[0]!r} has type {described[unknown[0]][0]}, which safetensors files "
            f"cannot hold. Expected one of: {', '.join(str(dtype) for dtype in _NAMES_OF_DTYPES)}."
        )
    order = sorted(described, key=lambda name: (-described[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata or {"format": "pt"})}
    position = 0
    for name in order:
        dtype, shape = described[name]
        size = dtype.itemsize * int(np.prod(shape, dtype=object))
        header[name] = {
            "dtype": _NAMES_OF_DTYPES[dtype],
            "shape": list(shape),
            "data_offsets": [position, position + size],
        }
        position += size
    encoded = json.dumps(header, separators=(",", ":")).encode("utf-8")
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with Path(path).open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in order:
            value = np.asarray(tensors[name]).astype(described[name][0], order="C", copy=False)
            stream.write(value.reshape(-1).view(np.uint8).data)


def _describe(value: np.ndarray) -> tuple[np.dtype, tuple[int, ...]]:
    value = np.asarray(value)
    dtype = value.dtype.newbyteorder("<") if value.dtype.byteorder == ">" else value.dtype
    return dtype, value.shape


def _read_header(content: FileBytes, name: str) -> tuple[dict[str, object], int]:
    if content.size < 8:
        raise weights_error(name, None, f"it has {content.size} bytes and is cut short")
    (length,) = struct.unpack("<Q", content[:8].tobytes())
    if length > _MAX_HEADER_BYTES:
        raise weights_error(
            name, None, f"its header claims {length} bytes; it is no safetensors file"
        )
    if 8 + length > content.size:
        raise weights_error(
            name, None, f"its header has {length} bytes, but the file only {content.size}"
        )
    try:
        header = json.loads(
            content[8 : 8 + length].tobytes().decode("utf-8"), object_pairs_hook=_unique_keys
        )
    except (ValueError, RecursionError) as error:
        raise weights_error(name, None, f"its header is not valid ({error})") from error
    if not isinstance(header, dict):
        raise weights_error(name, None, "its header is not an object")
    return header, 8 + length


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a tensor is named twice")
    return result


def _check_description(
    description: object, tensor: str, name: str
) -> tuple[np.dtype, tuple[int, ...], int, int]:
    if not isinstance(description, dict):
        raise weights_error(name, tensor, "its entry in the header is not an object")
    dtype = _DTYPES.get(str(description.get("dtype")))
    if dtype is None:
        raise weights_error(
            name, tensor, f"its type {description.get('dtype')!r} is none of {', '.join(_DTYPES)}"
        )
    shape = description.get("shape")
    count = num_elements(shape)
    if count is None:
        raise weights_error(name, tensor, f"{str(shape)[:100]} is not a shape")
    match description.get("data_offsets"):
        case [int(begin), int(end)] if 0 <= begin <= end:
            pass
        case offsets:
            raise weights_error(name, tensor, f"{str(offsets)[:100]} are not two offsets")
    if end - begin != count * dtype.itemsize:
        raise weights_error(
            name,
            tensor,
            f"{end - begin} bytes are stored for shape {shape} of type {description['dtype']}, "
            f"which takes {count * dtype.itemsize}",
        )
    return dtype, tuple(shape), begin, end  # type: ignore[arg-type]


def _check_spans(spans: list[tuple[int, int, str]], size: int, name: str) -> None:
    """Refuses bytes that belong to two tensors or to none: no writer leaves any."""
    position = 0
    for begin, end, tensor in sorted(spans):
        if begin != position:
            raise weights_error(
                name, tensor, f"it starts at byte {begin} of the data, not at {position}"
            )
        position = end
    if position != size:
        raise weights_error(name, None, f"{size - position} bytes belong to no tensor")


def _read_span(
    content: FileBytes, span: tuple[int, int], dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    return content[slice(*span)].view(dtype).reshape(shape)


def _read_rows(
    content: FileBytes, first: int, dtype: np.dtype, shape: tuple[int, ...], start: int, stop: int
) -> np.ndarray:
    num_bytes = math.prod(shape[1:]) * dtype.itemsize
    span = (first + start * num_bytes, first + stop * num_bytes)
    return _read_span(content, span, dtype, (stop - start, *shape[1:]))


def _sharded(reader: _Reader) -> _Reader:
    """Returns a reader of the index file over shards that `reader` reads."""

    def read_index(files: PresetFiles, name: str) -> _Entries:
        weight_map = files.read_json(name).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise weights_error(name, None, "it has no 'weight_map' from tensors to files")
        for tensor, shard in weight_map.items():
            if not isinstance(shard, str):
                raise weights_error(name, tensor, f"{str(shard)[:100]} is not the name of a file")
        shards = {shard: reader(files, shard) for shard in sorted(set(weight_map.values()))}
        for tensor, shard in weight_map.items():
            if tensor not in shards[shard]:
                raise weights_error(shard, tensor, f"it is not there, though {name!r} says so")
        return {tensor: shards[shard][tensor] for tensor, shard in weight_map.items()}

    return read_index


# The order is the order of preference; safetensors first, as transformers does.
_FILES: dict[str, _Reader] = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": _sharded(read_safetensors),
    "pytorch_model.bin": read_torch,
    "pytorch_model.bin.index.json": _sharded(read_torch),
}
