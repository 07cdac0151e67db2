"""Reads the tensors of a `pytorch_model.bin` without PyTorch and without running anything in it.

Since PyTorch 1.6 the file is a zip archive of one pickle and, uncompressed, the bytes of each
storage; before, it was a few pickles followed by the storages. The layout:
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py (`_save`, `_legacy_save`).
"""

import mmap
import struct
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from clozework.errors import WeightsError
from clozework.presets.files import PresetFiles
from clozework.presets.pickle_reader import ForbiddenGlobalError, Global, read_pickle
from clozework.presets.stored_tensors import (
    BFLOAT16,
    FileBytes,
    StoredTensor,
    num_elements,
    weights_error,
)

__all__ = ["read_torch"]

_STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "ComplexFloatStorage": np.dtype(np.complex64),
    "ComplexDoubleStorage": np.dtype(np.complex128),
}
# PyTorch's newer types have no storage class of their own: the tensor says its type.
_DTYPES = {
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
}
# Names that may stand in a file as values beside its tensors.
_INERT = frozenset(
    [
        *("bfloat16", "bool", "complex64", "complex128", "float16", "float32", "float64"),
        *("int8", "int16", "int32", "int64", "uint8"),
        *("contiguous_format", "preserve_format", "strided"),
    ]
)
_ZIP_MAGIC = b"PK\x03\x04"
_ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_NESTING = 20


@dataclass(frozen=True)
class _Storage:
    """A storage as the pickle names it; `dtype` is None where its tensors say theirs."""

    key: str
    dtype: np.dtype | None
    num_elements: int

    @property
    def num_bytes(self) -> int:
        return self.num_elements * (self.dtype.itemsize if self.dtype else 1)


@dataclass(frozen=True)
class _Tensor:
    """A tensor as the pickle describes it: a view of a storage, not checked yet."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any
    dtype: np.dtype


@dataclass(frozen=True)
class _Span:
    """Where the bytes of a storage are, and their checksum if the format has one."""

    begin: int
    end: int
    crc: int | None = None


@dataclass(frozen=True)
class _Archive:
    """A file of `torch.save`, whatever its generation."""

    file: str
    content: FileBytes
    root: Any
    spans: Mapping[str, _Span]
    is_big_endian: bool
    verified: set[str]
    # Storages that are in use: tensors may share one.
    storages: weakref.WeakValueDictionary[str, np.ndarray] = field(
        default_factory=weakref.WeakValueDictionary
    )


def read_torch(files: PresetFiles, name: str) -> dict[str, StoredTensor]:
    """Returns the tensors of one file that `torch.save` wrote, each read when it is asked for.

    Tensors in nested dictionaries are named with dots (`"model.weight"`); what is no tensor is left
    out. Each storage is compared with its checksum when it is first read.

    Raises `WeightsError` for a file that is damaged, or whose pickle names anything but tensors;
    nothing in it is run in either case.
    """
    path = files.path(name)
    content = FileBytes(path, name)
    is_zip = content[:4].tobytes() == _ZIP_MAGIC
    try:
        archive = _open_zip(path, content, name) if is_zip else _open_legacy(path, content, name)
    except ForbiddenGlobalError as error:
        raise WeightsError(
            f"Weights file {name!r} names {str(error)!r}, which has no place among weights. "
            "Nothing in the file was run. If you trust it, load it with PyTorch and save its "
            "state_dict."
        ) from error
    entries: dict[str, StoredTensor] = {}
    for tensor_name, tensor in _flatten(archive.root, name):
        _check_tensor(archive, tensor_name, tensor)
        read = partial(_read_tensor, archive, tensor_name, tensor)
        entries[tensor_name] = StoredTensor(tuple(tensor.shape), tensor.dtype, name, read)
    return entries


def _open_zip(path: Path, content: FileBytes, file: str) -> _Archive:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise weights_error(file, None, f"it is damaged or cut short ({error})") from error
    roots = [name[: -len("data.pkl")] for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or roots[0].count("/") != 1:
        raise weights_error(file, None, "it is a zip archive, but none that torch.save wrote")
    spans = {
        name.removeprefix(roots[0]): _zip_span(content, member, file)
        for name, member in members.items()
        if name.startswith(roots[0])
    }
    pickle = _zip_record(content, spans["data.pkl"], file)
    byte_order = b"little"
    if "byteorder" in spans:
        byte_order = _zip_record(content, spans["byteorder"], file)
    root = _read(BytesIO(pickle), file)
    data = {key.removeprefix("data/"): s for key, s in spans.items() if key.startswith("data/")}
    return _Archive(file, content, root, data, byte_order == b"big", set())


def _zip_span(content: FileBytes, member: zipfile.ZipInfo, file: str) -> _Span:
    start = member.header_offset
    header = content[start : start + _ZIP_LOCAL_HEADER.size].tobytes()
    if len(header) < _ZIP_LOCAL_HEADER.size or header[:4] != _ZIP_MAGIC:
        raise weights_error(file, None, f"its record {member.filename!r} is damaged")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
        raise weights_error(
            file, None, f"its record {member.filename!r} is compressed, which torch.save never does"
        )
    _, name_length, extra_length = _ZIP_LOCAL_HEADER.unpack(header)
    begin = start + _ZIP_LOCAL_HEADER.size + name_length + extra_length
    if begin + member.file_size > content.size:
        raise weights_error(file, None, f"its record {member.filename!r} is cut short")
    return _Span(begin, begin + member.file_size, member.CRC)


def _zip_record(content: FileBytes, span: _Span, file: str) -> bytes:
    record = content[span.begin : span.end].tobytes()
    if zlib.crc32(record) != span.crc:
        raise weights_error(file, None, "its list of tensors differs from its checksum")
    return record


def _open_legacy(path: Path, content: FileBytes, file: str) -> _Archive:
    if not content.size:
        raise weights_error(file, None, "it is empty")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            is_torch = _read(data, file) == _LEGACY_MAGIC and _read(data, file) == _LEGACY_PROTOCOL
        except WeightsError:
            is_torch = False
        if not is_torch:
            raise weights_error(file, None, "it is no file that torch.save wrote")
        system = _read(data, file)
        storages: dict[str, _Storage] = {}
        root = _read(data, file, storages)
        keys = _read(data, file)
        position = data.tell()
    if not isinstance(system, dict) or not isinstance(keys, list):
        raise weights_error(file, None, "it has no list of storages")
    is_big_endian = system.get("little_endian") is False
    spans: dict[str, _Span] = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise weights_error(file, None, "it lists a storage that no tensor has")
        # Eight bytes before each storage repeat its number of elements.
        begin = position + 8
        stored = int.from_bytes(
            content[position:begin].tobytes(), "big" if is_big_endian else "little"
        )
        if stored != storages[key].num_elements:
            raise weights_error(file, None, f"its storage {key!r} is damaged or cut short")
        position = begin + storages[key].num_bytes
        spans[key] = _Span(begin, position)
    return _Archive(file, content, root, spans, is_big_endian, set())


def _read(
    stream: BytesIO | mmap.mmap, file: str, storages: dict[str, _Storage] | None = None
) -> Any:
    """Returns the value of one pickle of the file; storages that it names go into `storages`."""
    found = {} if storages is None else storages

    def persistent(identifier: Any) -> _Storage:
        storage = _storage(identifier)
        if found.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {storage.key!r} is described in two ways")
        return storage

    try:
        return read_pickle(stream, calls=_CALLS, names=_is_inert, persistent=persistent)
    except ForbiddenGlobalError:
        raise
    except (ValueError, OverflowError) as error:
        raise weights_error(file, None, f"its list of tensors is damaged ({error})") from error


def _storage(identifier: Any) -> _Storage:
    match identifier:
        case ("storage", Global(module=module, name=kind), str(key), _, int(count), *rest):
            if (module, kind) == ("torch.storage", "UntypedStorage"):
                dtype = None
            elif kind in _STORAGES:
                dtype = _STORAGES[kind]
            else:
                raise ValueError(f"the storage type {kind!r} is not known")
            if count < 0 or any(item is not None for item in rest):
                raise ValueError(f"storage {key!r} has {count} elements, or is a view of another")
            return _Storage(key, dtype, count)
        case _:
            raise ValueError("a storage is not described as torch.save does")


def _is_inert(found: Global) -> bool:
    if (found.module, found.name) == ("torch.storage", "UntypedStorage"):
        return True
    return found.module == "torch" and (
        found.name in _STORAGES or found.name in _DTYPES or found.name in _INERT
    )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or storage.dtype is None:
        raise ValueError("a tensor has no storage of a known type")
    return _Tensor(storage, offset, shape, strides, storage.dtype)


def _rebuild_tensor_of_type(
    storage: Any, offset: Any, shape: Any, strides: Any, _: Any, __: Any, kind: Any, *___: Any
) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(kind, Global):
        raise ValueError("a tensor has no storage, or no type")
    dtype = _DTYPES.get(kind.name)
    if dtype is None:
        raise ValueError(f"the type {str(kind)!r} is not known")
    return _Tensor(storage, offset, shape, strides, dtype)


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("an OrderedDict is not made of pairs")
    if not all(isinstance(key, str) for key, _ in pairs):
        raise ValueError("an OrderedDict has a key that is no string")
    return dict(pairs)


def _nothing(*_: Any) -> None:
    """Stands for a value that may be in a file and is of no use to us."""


_CALLS: Mapping[Global, Callable[..., Any]] = {
    Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_of_type,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("torch", "Size"): _nothing,
    Global("torch", "device"): _nothing,
    Global("_codecs", "encode"): _nothing,
}


def _flatten(root: Any, file: str) -> Iterator[tuple[str, _Tensor]]:
    """Yields the tensors of nested dictionaries; a dictionary that stands twice is walked once."""
    if not isinstance(root, dict):
        raise weights_error(file, None, f"it holds a {type(root).__name__}, not named tensors")
    pending: list[tuple[str, dict[Any, Any], int]] = [("", root, 0)]
    seen = {id(root)}
    while pending:
        prefix, mapping, depth = pending.pop()
        for key, value in mapping.items():
            if isinstance(value, _Tensor):
                yield f"{prefix}{key}", value
            elif isinstance(value, dict) and id(value) not in seen and depth < _MAX_NESTING:
                seen.add(id(value))
                pending.append((f"{prefix}{key}.", value, depth + 1))


def _check_tensor(archive: _Archive, name: str, tensor: _Tensor) -> None:
    """Refuses a tensor that reaches beyond its storage, before any of it is read."""
    file, storage = archive.file, tensor.storage
    count = num_elements(tensor.shape)
    strides = num_elements(tensor.strides)
    if count is None or strides is None or len(tensor.shape) != len(tensor.strides):
        raise weights_error(file, name, "its shape and strides do not go together")
    if type(tensor.offset) is not int or tensor.offset < 0:
        raise weights_error(file, name, "its offset is not a position")
    span = archive.spans.get(storage.key)
    if span is None:
        raise weights_error(file, name, f"its storage {storage.key!r} is not in the file")
    if span.end > archive.content.size or span.end - span.begin < storage.num_bytes:
        stored = min(span.end, archive.content.size) - span.begin
        raise weights_error(
            file, name, f"{max(stored, 0)} bytes are stored of {storage.num_bytes}: it is cut short"
        )
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    available = storage.num_bytes // tensor.dtype.itemsize
    if count and (last >= available or count > available):
        raise weights_error(
            file,
            name,
            f"shape {tuple(tensor.shape)} at offset {tensor.offset} takes more than the "
            f"{available} elements of its storage",
        )


def _read_tensor(archive: _Archive, name: str, tensor: _Tensor) -> np.ndarray:
    stored = _read_storage(archive, name, tensor.storage.key)
    itemsize = tensor.dtype.itemsize
    if archive.is_big_endian and itemsize > 1:
        # ml_dtypes has no types of the other byte order: the bytes are swapped as integers.
        width = itemsize // 2 if tensor.dtype.kind == "c" else itemsize
        whole = stored[: stored.size - stored.size % itemsize]
        stored = whole.view(f">u{width}").astype(f"=u{width}").view(np.uint8)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    strides = tuple(stride * itemsize for stride in tensor.strides)
    offset = tensor.offset * itemsize
    return np.ndarray(tensor.shape, tensor.dtype, stored.data, offset, strides)


def _read_storage(archive: _Archive, name: str, key: str) -> np.ndarray:
    stored = archive.storages.get(key)
    if stored is not None:
        return stored
    span = archive.spans[key]
    stored = archive.content[span.begin : span.end]
    if span.crc is not None and key not in archive.verified:
        if zlib.crc32(stored.data) != span.crc:
            raise weights_error(archive.file, name, "its bytes differ from their checksum")
        archive.verified.add(key)
    archive.storages[key] = stored
    return stored
