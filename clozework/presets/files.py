"""The files of one preset, wherever they are: a local directory, memory, or a download cache.

Everything that reads a preset takes a `PresetFiles` and neither knows nor asks where the files come
from. Sources that download are in `clozework.presets.handle`.
"""

import abc
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from clozework.errors import PresetError, PresetNotFoundError

__all__ = ["LocalFiles", "MemoryFiles", "PresetFiles", "SubFolder", "check_file_name"]

_MAX_JSON_BYTES = 256 * 2**20


def check_file_name(name: str) -> str:
    """Returns `name` if it names a file inside a preset, with `/` between folders.

    Raises `PresetError` for anything that could lead elsewhere: absolute paths, `..`, backslashes,
    drive letters, control characters.

    >>> check_file_name("assets/tokenizer/vocabulary.txt")
    'assets/tokenizer/vocabulary.txt'
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(
        character in '\\:*?"<>|' or not character.isprintable() for character in name
    ):
        raise PresetError(
            f"{name!r} is not the name of a file inside a preset. Expected a relative path such as "
            "'assets/tokenizer/vocabulary.txt', without '..', ':' or '\\'."
        )
    return name


class PresetFiles(abc.ABC):
    """The files of one preset. Abstract: a source says how a file is found.

    Attributes:
        name: what messages call the preset, for example `"hf://org/name"`.
    """

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def has(self, name: str) -> bool:
        """Returns whether the preset has a file of that name.

        A source that cannot list its files fetches the file to find out.
        """
        return self._has(check_file_name(name))

    def path(self, name: str) -> Path:
        """Returns where the file can be read, fetching it first if need be.

        Raises `PresetNotFoundError` if the preset has no such file.
        """
        found = self._find(check_file_name(name))
        if found is None:
            raise PresetNotFoundError(
                f"Preset {self.name} has no file {name!r}. Check that the preset is complete and "
                "of the kind that you mean."
            )
        return found

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes, fetching it if there is no other way to know."""
        return self.path(name).stat().st_size

    def read_text(self, name: str) -> str:
        """Returns the content of a text file in UTF-8."""
        try:
            return self.path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise PresetError(
                f"File {name!r} of preset {self.name} is not text in UTF-8 ({error}). Get the file "
                "anew from its source."
            ) from error

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns the content of a JSON file that holds an object.

        Raises `PresetError` for broken JSON, for nesting that no config has, for a key that stands
        twice in an object, and for anything that is not an object.
        """
        size = self.path(name).stat().st_size
        if size > _MAX_JSON_BYTES:
            raise self._json_error(
                name, f"it has {size} bytes, and at most {_MAX_JSON_BYTES} are read"
            )
        try:
            content = json.loads(self.read_text(name), object_pairs_hook=_object_without_repeats)
        except RecursionError as error:
            raise self._json_error(name, "it is nested too deeply") from error
        except ValueError as error:
            raise self._json_error(name, str(error)) from error
        if not isinstance(content, dict):
            raise self._json_error(name, f"it holds a {type(content).__name__}, not an object")
        return content

    def _json_error(self, name: str, reason: str) -> PresetError:
        return PresetError(
            f"File {name!r} of preset {self.name} is not the JSON object that was expected: "
            f"{reason}. Get the file anew from its source."
        )

    @abc.abstractmethod
    def names(self) -> list[str]:
        """Returns the names of all files that are known without downloading any, sorted."""

    @abc.abstractmethod
    def _has(self, name: str) -> bool: ...

    @abc.abstractmethod
    def _find(self, name: str) -> Path | None: ...


class LocalFiles(PresetFiles):
    """A preset in a local directory.

    Symbolic links that lead out of the directory are refused, except those of a Hugging Face cache,
    whose snapshots are links to the blobs beside them.
    """

    def __init__(self, directory: str | Path, *, name: str | None = None):
        self.directory = Path(directory)
        super().__init__(name or f"'{self.directory}'")
        root = self.directory.resolve()
        self._roots = [root]
        if root.parent.name == "snapshots":
            self._roots.append(root.parent.parent / "blobs")

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_file()
        )

    def _has(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> Path | None:
        path = self.directory / PurePosixPath(name)
        if not path.is_file():
            return None
        target = path.resolve()
        if not any(target.is_relative_to(root) for root in self._roots):
            raise PresetError(
                f"File {name!r} of preset {self.name} is a link to {str(target)!r}, outside the "
                "preset. Put the file itself there if you trust it."
            )
        return path


class MemoryFiles(PresetFiles):
    """A preset that is held in memory, for tests and for models that come from elsewhere.

    Arguments:
        files: file name -> content; a `str` is stored as UTF-8, a mapping as JSON.
        name: what messages call the preset.

    >>> files = MemoryFiles({"config.json": {"num_layers": 2}})
    >>> files.read_json("config.json")
    {'num_layers': 2}
    >>> files.has("model.weights.h5")
    False
    """

    def __init__(
        self, files: Mapping[str, bytes | str | Mapping[str, Any]], *, name: str = "in memory"
    ):
        super().__init__(name)
        self._contents = {check_file_name(key): _as_bytes(value) for key, value in files.items()}
        self._directory: Path | None = None

    def names(self) -> list[str]:
        return sorted(self._contents)

    def _has(self, name: str) -> bool:
        return name in self._contents

    def _find(self, name: str) -> Path | None:
        """Writes the file where readers that need a path can find it; it goes with this object."""
        if name not in self._contents:
            return None
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="clozework-"))
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        path = self._directory / PurePosixPath(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._contents[name])
        return path


class SubFolder(PresetFiles):
    """The files in one folder of a preset, as a preset of their own.

    >>> files = MemoryFiles({"1_Pooling/config.json": {"include_prompt": True}})
    >>> SubFolder(files, "1_Pooling").read_json("config.json")
    {'include_prompt': True}
    """

    def __init__(self, files: PresetFiles, folder: str):
        super().__init__(f"{folder!r} of {files.name}")
        self._files = files
        self._folder = folder

    def names(self) -> list[str]:
        prefix = f"{self._folder}/"
        found = (name for name in self._files.names() if name.startswith(prefix))
        return [name.removeprefix(prefix) for name in found]

    def _has(self, name: str) -> bool:
        return self._files.has(f"{self._folder}/{name}")

    def _find(self, name: str) -> Path | None:
        name = f"{self._folder}/{name}"
        return self._files.path(name) if self._files.has(name) else None


def _as_bytes(content: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode("utf-8")


def _object_without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice in one object")
        result[key] = value
    return result
