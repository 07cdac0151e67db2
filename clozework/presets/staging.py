"""Directories that are written whole or not at all.

A preset is written into a hidden directory beside its destination, which then takes its place:

* where there was nothing, by one rename;
* where there was a directory, on Linux by exchanging the two in one step (`renameat2`): whatever
  happens, the name leads to the old state or to the new one;
* elsewhere by two renames. A crash between them leaves the name without a directory and the old
  state under a hidden name; the next save or load there puts it back (`restore_interrupted`).

Hidden directories of processes that were killed are removed by the next save to the same place.
"""

import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from clozework.errors import PresetError
from clozework.presets.files import LocalFiles
from clozework.presets.manifest import CARD, MANIFEST, manifest_of, read_manifest, write_manifest

__all__ = ["restore_interrupted", "staged_directory"]

# What makes up a preset, in KerasHub's format and in that of transformers: a save replaces it all.
_PRESET_FILES = (
    *("config.json", "metadata.json", "task.json", "preprocessor.json", "tokenizer.json"),
    *("*.weights.h5", "*.weights.json", "assets/*", MANIFEST),
    *("*.safetensors", "*.safetensors.index.json", "tokenizer_config.json"),
)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_PATIENCE = 1.0


@contextmanager
def staged_directory(
    destination: str | os.PathLike[str], *, replaces: Sequence[str] | None = None
) -> Iterator[Path]:
    """Gives a directory to write a preset into, which becomes `destination` if all goes well.

    Arguments:
        destination: the directory. If it exists, its files that are not written anew stay, except
            those that `replaces` says.
        replaces: patterns of files that a save stands for, whether it writes them or not, such as
            `"model*.weights.h5"`; `*` also matches `/`. By default everything that makes up a
            preset, so that no part of an older one stays behind.

    A manifest is added. If an exception leaves the block, or the process is killed, `destination`
    stays as it was. Raises `PresetError` if it is a file or cannot be replaced.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     with staged_directory(f"{home}/preset") as directory:
    ...         _ = (directory / "config.json").write_text("{}")
    ...     sorted(LocalFiles(f"{home}/preset").names())
    ['config.json', 'manifest.json']
    """
    if not isinstance(destination, str | os.PathLike) or not os.fspath(destination):
        raise PresetError(f"{destination!r} cannot name a directory. Give the path of one.")
    target = Path(os.path.realpath(Path(destination).expanduser()))
    _check_destination(target)
    staged = _hidden(target, "staging")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        restore_interrupted(target)
        _remove_leftovers(target)
        staged.mkdir()
    except OSError as error:
        raise PresetError(f"{str(target)!r} cannot be written: {error}.") from error
    try:
        yield staged
        try:
            _complete(staged, target, replaces)
            _flush(staged)
            _put_in_place(staged, target)
        except OSError as error:
            raise PresetError(
                f"{str(target)!r} could not be replaced, and stays as it was: {error}."
            ) from error
    finally:
        # On success the old state may be here; on failure, what was written so far.
        shutil.rmtree(staged, ignore_errors=True)


def restore_interrupted(destination: Path) -> None:
    """Puts back the old state of a directory that was being replaced when the process ended."""
    deadline = time.monotonic() + _PATIENCE
    while not destination.exists():
        kept = _hidden_of(destination, "old")
        if not kept:
            return
        if _is_running(kept[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
            continue
        try:
            kept[0].rename(destination)
        except OSError:
            # Another process was faster: its state is there now.
            return


def _check_destination(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise PresetError(f"{str(target)!r} is a file. Give a directory to save to.")
    if target == target.parent or target.is_mount():
        raise PresetError(
            f"{str(target)!r} is where a file system starts, which cannot be replaced in one step. "
            "Give a directory inside it."
        )
    if Path.cwd().is_relative_to(target):
        raise PresetError(
            f"{str(target)!r} is or holds the current directory, which a save would replace. Give "
            "a directory inside it."
        )


def _complete(staged: Path, target: Path, replaces: Sequence[str] | None) -> None:
    """Adds what stays of the old state, and the manifest."""
    entries = manifest_of(staged, (name for name in LocalFiles(staged).names() if name != CARD))
    if target.is_dir():
        old = _old_manifest(target)
        replaced = (*_PRESET_FILES, *old) if replaces is None else (*replaces, MANIFEST)
        stays = _carry_over(target, staged, replaced)
        # What was recorded when it was written: a file that was damaged since stays detectable.
        entries |= {name: old[name] for name in stays if name in old}
    write_manifest(staged, entries)


def _old_manifest(target: Path) -> dict[str, dict[str, Any]]:
    try:
        return read_manifest(LocalFiles(target))
    except PresetError:
        return {}  # It is damaged, and is about to be replaced.


def _carry_over(source: Path, staged: Path, replaced: Sequence[str]) -> list[str]:
    """Links what stays of the old state into the new one; returns its files."""
    carried: list[str] = []
    for folder, folders, names in os.walk(source):
        inside = Path(folder).relative_to(source)
        for name in [*names, *(name for name in folders if (Path(folder) / name).is_symlink())]:
            path = (inside / name).as_posix()
            new = staged / inside / name
            if os.path.lexists(new) or any(fnmatchcase(path, pattern) for pattern in replaced):
                continue
            new.parent.mkdir(parents=True, exist_ok=True)
            _link(source / inside / name, new)
            carried.append(path)
    return carried


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new, follow_symlinks=False)
    except (OSError, NotImplementedError):
        # File systems without hard links.
        shutil.copy2(old, new, follow_symlinks=False)


def _flush(directory: Path) -> None:
    """Sees to it that what was written is on the disk before a name leads to it."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
                _flush_path(path)
        _flush_path(Path(folder))


def _flush_path(path: Path) -> None:
    if os.name == "nt":
        return  # Windows flushes no directories, and files only where they are open for writing.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(staged: Path, target: Path) -> None:
    if not target.exists():
        staged.rename(target)
    elif not _exchange(staged, target):
        old = _hidden(target, "old")
        target.rename(old)
        try:
            staged.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _flush_path(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two directories in one step; returns False where that cannot be done."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False  # an old kernel, or a file system that cannot
    raise PresetError(f"{str(other)!r} cannot be replaced: {os.strerror(code)}.")


def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    try:
        return library.renameat2
    except AttributeError:
        return None  # a C library older than the call


def _hidden(target: Path, kind: str) -> Path:
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:20]
    return target.with_name(f".{target.name}.{host}-{os.getpid()}-{secrets.token_hex(4)}.{kind}")


def _hidden_of(target: Path, kind: str) -> list[Path]:
    pattern = re.compile(re.escape(f".{target.name}.") + rf"[^.-]*-\d+-[0-9a-f]{{8}}\.{kind}")
    try:
        return sorted(path for path in target.parent.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        return []


def _remove_leftovers(target: Path) -> None:
    for kind in ("staging", "old"):
        for path in _hidden_of(target, kind):
            if not _is_running(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_running(hidden: Path) -> bool:
    """Returns whether the process that made a hidden directory may still be at work."""
    host, process, _ = hidden.suffixes[-2].removeprefix(".").split("-")
    if host != re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:20] or os.name == "nt":
        return True  # it cannot be told; on Windows a signal to ask would end the process
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
