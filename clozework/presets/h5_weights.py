"""Keras's `.weights.h5` files, whole or in shards: a group for each layer, its variables in `vars`.

Paths are those inside the file: `"layers/dense/vars/0"`. This follows Keras's writer and reader:
https://github.com/keras-team/keras/blob/v3.12.0/keras/src/saving/saving_lib.py (`H5IOStore`,
`ShardedH5IOStore`).
"""

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from clozework.errors import ConfigError, PresetNotFoundError, WeightsError
from clozework.presets.files import PresetFiles
from clozework.presets.stored_tensors import (
    BFLOAT16,
    FileBytes,
    StoredTensor,
    StoredTensors,
    num_elements,
    weights_error,
)

__all__ = ["read_h5", "read_h5_file", "write_h5"]

_SUFFIX = ".weights.h5"
_MAX_DEPTH = 64
_MAX_GROUPS = 1_000_000
_MAX_PADDED_READ = 2**26
# What Keras before 3.0 called the group that is "layers" now.
_OLD_LAYERS = "_layer_checkpoint_dependencies"
_H5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


def read_h5(files: PresetFiles, name: str) -> StoredTensors:
    """Opens the weights file `name`, or its shards where `name` itself is absent.

    Arguments:
        files: the preset.
        name: the whole file, for example `"model.weights.h5"`; its shards are then listed in
            `"model.weights.json"`.

    Returns the tensors by their path in the file. The structure is read and checked at once; values
    are mapped into memory when they are asked for.

    Raises `PresetNotFoundError` if there is neither, `WeightsError` for a file that is damaged or
    that points outside of itself.
    """
    index = _index_name(name)
    if files.has(name):
        return StoredTensors(read_h5_file(files, name))
    if files.has(index):
        return StoredTensors(_read_shards(files, index))
    raise PresetNotFoundError(
        f"Preset {files.name} has no weights: neither {name!r} nor {index!r} is there."
    )


def write_h5(
    directory: str | Path,
    name: str,
    values: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    *,
    max_shard_size: float = 10,
) -> list[str]:
    """Writes weights as Keras and KerasHub read them, in shards where they are large.

    Arguments:
        directory: where to write.
        name: the file, such as `"model.weights.h5"`; see `read_h5` for the names of shards.
        values: path in the file -> values, in the order of the layers. Each is asked for more than
            once, for its size and to be written.
        names: path of a group (`"layers/dense"`, `""` for the model) -> name of the layer, kept as
            an attribute; layers without variables may be among them.
        max_shard_size: what a file may hold, in GB of 2**30 bytes.

    Returns the names of the files written. Raises `ConfigError` for a tensor that is larger than a
    shard may be.

    >>> import tempfile
    >>> from clozework.presets.files import LocalFiles
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     write_h5(directory, "model.weights.h5", {"layers/dense/vars/0": np.ones(3)}, {})
    ...     read_h5(LocalFiles(directory), "model.weights.h5")["layers/dense/vars/0"]
    ['model.weights.h5']
    array([1., 1., 1.])
    """
    shards = _plan_shards(values, max_shard_size * 2**30)
    if len(shards) == 1:
        _write_file(Path(directory, name), values, shards[0], names)
        return [name]
    index = _index_name(name)
    stem = name.removesuffix(_SUFFIX)
    weight_map: dict[str, list[str]] = defaultdict(list)
    total_size = 0
    for number, paths in enumerate(shards):
        shard = f"{stem}_{number:05}{_SUFFIX}"
        _write_file(Path(directory, shard), values, paths, names)
        total_size += sum(values[path].nbytes for path in paths)
        for group in dict.fromkeys(path.rpartition("/")[0] for path in paths):
            weight_map[f"/{group}"].append(shard)
    content = {
        "metadata": {"total_size": total_size},
        "weight_map": {
            group: shards[0] if len(shards) == 1 else shards for group, shards in weight_map.items()
        },
    }
    Path(directory, index).write_text(json.dumps(content, indent=4), encoding="utf-8")
    return [index, *sorted({shard for shards in weight_map.values() for shard in shards})]


def _index_name(name: str) -> str:
    return f"{name.removesuffix('.h5')}.json"


def _plan_shards(values: Mapping[str, np.ndarray], max_bytes: float) -> list[list[str]]:
    """Returns which paths go into which file, filled in order as Keras does."""
    shards: list[list[str]] = [[]]
    filled = 0
    for path in values:
        size = values[path].nbytes
        if size > max_bytes:
            raise ConfigError(
                f"max_shard_size is {max_bytes / 2**30:g} GB, but the weights at {path!r} alone "
                f"take {size / 2**30:g} GB. Give a larger max_shard_size."
            )
        if filled + size > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(path)
        filled += size
    return shards


def _write_file(
    file: Path, values: Mapping[str, np.ndarray], paths: list[str], names: Mapping[str, str]
) -> None:
    with h5py.File(file, "w") as root:
        for layer_path, layer in names.items():
            root.require_group(f"{layer_path}/vars").attrs["name"] = layer
        for path in paths:
            group_path, _, key = path.rpartition("/")
            group = root.require_group(group_path)
            value = np.asarray(values[path])
            if value.dtype == BFLOAT16:
                # HDF5 has no such type: Keras stores the bytes and says so beside them.
                group.create_dataset(key, data=value.view("V2")).attrs["dtype"] = "bfloat16"
            else:
                group.create_dataset(key, data=value)


def _read_shards(files: PresetFiles, index: str) -> dict[str, StoredTensor]:
    weight_map = files.read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise weights_error(index, None, "it has no 'weight_map' from layers to files")
    groups: dict[str, set[str]] = defaultdict(set)
    for group, shards in weight_map.items():
        listed = shards if isinstance(shards, list) else [shards]
        if not listed or not all(isinstance(shard, str) for shard in listed):
            raise weights_error(index, group, "its entry is not the name of a file, or several")
        for shard in listed:
            groups[shard].add(_current_path(group.strip("/")))
    entries: dict[str, StoredTensor] = {}
    for shard in sorted(groups):
        found = read_h5_file(files, shard)
        present = {path.rpartition("/")[0] for path in found}
        for group in sorted(present ^ groups[shard]):
            raise weights_error(
                shard, group, f"the file and the list in {index!r} differ as to whether it is there"
            )
        for path in sorted(found.keys() & entries.keys()):
            raise weights_error(shard, path, f"it is in {entries[path].file!r} as well")
        entries |= found
    return entries


def read_h5_file(files: PresetFiles, name: str) -> dict[str, StoredTensor]:
    """Returns the tensors of one HDF5 file; see `read_h5`."""
    path = files.path(name)
    content = FileBytes(path, name)
    with _open_h5(path, name) as root:
        entries = {
            _current_path(dataset_path): _describe(dataset, dataset_path, content, path, name)
            for dataset_path, dataset in _datasets(root, name)
        }
    return dict(sorted(entries.items()))


def _current_path(path: str) -> str:
    return path.replace(_OLD_LAYERS, "layers")


class _Padded(io.RawIOBase):
    """A file that goes on with zeros behind its end.

    HDF5 refuses a file that is cut short before it says anything about it. Through this, its
    beginning can be read to find out which tensor is the first that is missing.
    """

    def __init__(self, path: Path):
        self._stream = path.open("rb")
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: 2**60}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if len(buffer) > _MAX_PADDED_READ:
            raise OSError(f"the file asks for {len(buffer)} bytes at once")
        self._stream.seek(self._position)
        content = self._stream.read(len(buffer))
        buffer[:] = content + bytes(len(buffer) - len(content))
        self._position += len(buffer)
        return len(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _reading(name: str, path: str | None) -> Iterator[None]:
    """Turns what h5py raises for damaged files, which may be anything, into our error."""
    try:
        yield
    except WeightsError:
        raise
    except _H5_ERRORS as error:
        raise weights_error(name, path, f"it is damaged ({error})") from error


@contextmanager
def _open_h5(path: Path, name: str) -> Iterator[h5py.File]:
    padded: _Padded | None = None
    try:
        try:
            root = h5py.File(path, "r")
        except _H5_ERRORS:
            padded = _Padded(path)
            root = h5py.File(padded, "r")
    except _H5_ERRORS as error:
        if padded is not None:
            padded.close()
        raise weights_error(name, None, f"it is damaged, or no HDF5 file ({error})") from error
    with root, _reading(name, None):
        yield root
    if padded is not None:
        padded.close()
        raise weights_error(name, None, f"it is cut short at {path.stat().st_size} bytes")


def _datasets(root: h5py.File, name: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields the datasets of a file, following nothing that leads out of it or in circles."""
    if root.userblock_size:
        raise weights_error(name, None, "foreign bytes stand before its beginning")
    pending: list[tuple[str, h5py.Group]] = [("", root["/"])]
    seen = {_address(root["/"])}
    while pending:
        prefix, group = pending.pop()
        for path, item in _members(group, prefix, name):
            if isinstance(item, h5py.Dataset):
                yield path, item
                continue
            with _reading(name, path):
                address = _address(item)
            if address in seen or path.count("/") > _MAX_DEPTH or len(seen) > _MAX_GROUPS:
                raise weights_error(name, path, "the groups of the file are nested without end")
            seen.add(address)
            pending.append((f"{path}/", item))


def _address(group: h5py.Group) -> int:
    return h5py.h5o.get_info(group.id).addr


def _members(
    group: h5py.Group, prefix: str, name: str
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    with _reading(name, prefix or None):
        keys = list(group)
    for key in keys:
        path = f"{prefix}{key}"
        with _reading(name, path):
            link = group.get(key, getlink=True)
            item = group[key] if isinstance(link, h5py.HardLink) else None
        if not isinstance(item, h5py.Group | h5py.Dataset):
            raise weights_error(
                name, path, "it is a link, or no tensor; Keras writes neither, and none is followed"
            )
        yield path, item


def _describe(
    dataset: h5py.Dataset, dataset_path: str, content: FileBytes, path: Path, name: str
) -> StoredTensor:
    """Checks one dataset against the bytes that are stored for it; reads none of them."""
    with _reading(name, dataset_path):
        creation = dataset.id.get_create_plist()
        is_external = creation.get_external_count() > 0 or dataset.is_virtual
        num_filters = creation.get_nfilters()
        dtype, shape = dataset.dtype, dataset.shape
        offset, stored = dataset.id.get_offset(), dataset.id.get_storage_size()
        if dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":
            dtype = BFLOAT16
    count = num_elements(shape)
    if is_external:
        raise weights_error(name, dataset_path, "its values are in another file, which is not read")
    if num_filters:
        raise weights_error(name, dataset_path, "it is compressed; Keras writes it plainly")
    if count is None or not (dtype == BFLOAT16 or dtype.kind in "biuf") or dtype.itemsize > 8:
        raise weights_error(name, dataset_path, f"shape {shape} of type {dtype} is no tensor")
    size = count * dtype.itemsize
    is_right = stored == size if offset is not None else stored >= size
    if not is_right:
        raise weights_error(
            name, dataset_path, f"shape {shape} takes {size} bytes, but {stored} are stored"
        )
    if max(size, stored) > content.size:
        raise weights_error(
            name,
            dataset_path,
            f"it takes {max(size, stored)} bytes, but the file is cut short at {content.size}",
        )
    if offset is not None and offset + size > content.size:
        raise weights_error(
            name,
            dataset_path,
            f"it ends at byte {offset + size}, but the file is cut short at {content.size}",
        )
    native = dtype.newbyteorder("=")
    if offset is None:
        read = partial(_read_in_pieces, path, name, dataset_path, dtype)
        return StoredTensor(shape, native, name, read)
    span = (offset, offset + size)
    return StoredTensor(shape, native, name, partial(_read_span, content, span, dtype, shape), span)


def _read_span(
    content: FileBytes, span: tuple[int, int], dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """Reads values that lie in one piece, as Keras writes them."""
    values = content[slice(*span)].view(dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_in_pieces(path: Path, name: str, dataset_path: str, dtype: np.dtype) -> np.ndarray:
    try:
        with h5py.File(path, "r") as root:
            value = np.asarray(root[dataset_path][()])
    except _H5_ERRORS as error:
        raise weights_error(name, dataset_path, f"it cannot be read ({error})") from error
    if dtype == BFLOAT16:
        return value.view(dtype)
    return value.astype(dtype.newbyteorder("="), copy=False)
