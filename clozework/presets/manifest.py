"""`manifest.json`: size and SHA-256 of the files of a preset, and of each tensor in its weights.

Written when we save; other programs ignore it. It finds what was damaged on a disk or on the way,
and names it; it is no signature.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clozework.errors import ClozeworkWarning, PresetError, WeightsError
from clozework.presets.files import LocalFiles, PresetFiles
from clozework.presets.h5_weights import read_h5_file
from clozework.presets.tensor_files import read_safetensors

__all__ = [
    "CARD",
    "MANIFEST",
    "checked_by_manifest",
    "manifest_of",
    "read_manifest",
    "verify_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
# For people, who may edit it: the one file of a preset that is not in its manifest.
CARD = "README.md"
_VERSION = 1
_READERS = {".h5": read_h5_file, ".safetensors": read_safetensors}
# Each program that saves a whole preset writes this file anew.
_WITNESS = "metadata.json"
_MAX_NAMED = 5
_CHUNK = 2**20

_Entry = dict[str, Any]


def manifest_of(directory: Path, names: Iterable[str]) -> dict[str, _Entry]:
    """Returns the entries of files in a directory: name -> size, SHA-256 and tensors."""
    files = LocalFiles(directory)
    return {name: _entry(files, name) for name in sorted(names)}


def write_manifest(directory: Path, entries: Mapping[str, _Entry]) -> None:
    """Writes the manifest of a preset into its directory."""
    content = {"version": _VERSION, "files": dict(sorted(entries.items()))}
    (directory / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_manifest(files: PresetFiles) -> dict[str, _Entry]:
    """Returns the entries of a preset's manifest; none if it has no manifest."""
    if not files.has(MANIFEST):
        return {}
    content = files.read_json(MANIFEST)
    entries = content.get("files")
    if content.get("version") != _VERSION or not isinstance(entries, dict):
        raise PresetError(
            f"The {MANIFEST} of preset {files.name} is of version {content.get('version')!r}, not "
            f"{_VERSION}. Update Clozework, or delete the file to load the preset unchecked."
        )
    for name, entry in entries.items():
        if not _is_entry(entry):
            raise PresetError(
                f"The {MANIFEST} of preset {files.name} is damaged at {name!r}. Get the preset "
                "anew from its source, or delete the file to load the preset unchecked."
            )
    return entries


def verify_manifest(files: PresetFiles) -> None:
    """Compares all files of a preset with its manifest, if it has one; fetches them all.

    Raises `WeightsError` for weights that were altered or cut short, naming file and tensors, and
    `PresetError` for other files.
    """
    checked = checked_by_manifest(files)
    for name in read_manifest(files):
        checked.path(name)


def checked_by_manifest(files: PresetFiles) -> PresetFiles:
    """Returns the same files, each compared with the manifest before it is first handed out.

    A preset without a manifest is returned as it is; so is, with a warning, one that another
    program has written anew since.
    """
    entries = read_manifest(files)
    if not entries:
        return files
    if _WITNESS in entries and files.has(_WITNESS):
        witness = files.path(_WITNESS)
        if _digest(witness) != entries[_WITNESS]["sha256"]:
            warnings.warn(
                f"Preset {files.name} was written by another program after its {MANIFEST}: its "
                f"files are not compared with it. Delete {MANIFEST} to be rid of this warning.",
                ClozeworkWarning,
                stacklevel=2,
            )
            return files
    return _CheckedFiles(files, entries)


class _CheckedFiles(PresetFiles):
    """Files that are compared with their manifest when they are first used."""

    def __init__(self, files: PresetFiles, entries: Mapping[str, _Entry]):
        super().__init__(files.name)
        self._files = files
        self._entries = entries
        self._compared: set[str] = set()

    def names(self) -> list[str]:
        return self._files.names()

    def size(self, name: str) -> int:
        return self._files.size(name)

    def _has(self, name: str) -> bool:
        return self._files.has(name) or name in self._entries

    def _find(self, name: str) -> Path | None:
        entry = self._entries.get(name)
        if entry is None:
            return self._files.path(name) if self._files.has(name) else None
        if not self._files.has(name):
            kind = WeightsError if "tensors" in entry else PresetError
            raise kind(
                f"File {name!r} of preset {self.name} is missing, though its {MANIFEST} lists it. "
                "Get the preset anew from its source."
            )
        path = self._files.path(name)
        if name not in self._compared:
            _compare(path, name, entry, self.name)
            self._compared.add(name)
        return path


def _entry(files: LocalFiles, name: str) -> _Entry:
    path = files.path(name)
    entry: _Entry = {"size": path.stat().st_size, "sha256": _digest(path)}
    reader = _READERS.get(path.suffix)
    if reader is not None:
        entry["tensors"] = {
            tensor: [*stored.span, _digest(path, *stored.span)]
            for tensor, stored in reader(files, name).items()
            if stored.span is not None
        }
    return entry


def _is_entry(entry: object) -> bool:
    match entry:
        case {"size": int(), "sha256": str(), **rest}:
            return isinstance(rest.get("tensors", {}), dict) and all(
                isinstance(span, list) and [type(part) for part in span] == [int, int, str]
                for span in rest.get("tensors", {}).values()
            )
        case _:
            return False


def _compare(path: Path, name: str, entry: _Entry, preset: str) -> None:
    size = path.stat().st_size
    if size == entry["size"] and _digest(path) == entry["sha256"]:
        return
    what = "was altered" if size == entry["size"] else f"has {size} bytes, not {entry['size']}"
    place = f"File {name!r} of preset {preset} {what} since it was saved"
    if "tensors" not in entry:
        raise PresetError(
            f"{place}. Get it anew from its source, or delete {MANIFEST} if the change is wanted."
        )
    altered = [
        tensor
        for tensor, (begin, end, digest) in entry["tensors"].items()
        if end > size or _digest(path, begin, end) != digest
    ]
    named = ", ".join(repr(tensor) for tensor in altered[:_MAX_NAMED])
    more = f" and {len(altered) - _MAX_NAMED} more" if len(altered) > _MAX_NAMED else ""
    touched = f"damaged tensors: {named}{more}" if altered else "no tensor's values were touched"
    raise WeightsError(f"{place}; {touched}. Get the file anew from its source.")


def _digest(path: Path, begin: int = 0, end: int | None = None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(begin)
        left = end - begin if end is not None else path.stat().st_size
        while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
