"""What is remembered of downloads beside the clients' own caches.

Three small facts, each in a file of its own below `cache_directory()`, which may be deleted at any
time: what files a version of a preset has, what files it was found not to have, and which cached
files were compared with their checksum. None of this opens a connection.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from clozework.caches import cache_directory

__all__ = [
    "ListedFile",
    "digest_of_blob",
    "is_absent",
    "is_intact",
    "read_listing",
    "record_absent",
    "write_listing",
]

_CHUNK = 2**20


@dataclass(frozen=True)
class ListedFile:
    """A file as its source lists it.

    Attributes:
        size: in bytes, if the source says it.
        digest: SHA-256 in hexadecimal (64 digits), or Git's SHA-1 of a blob (40 digits), or None.
    """

    size: int | None
    digest: str | None


def write_listing(key: str, files: dict[str, ListedFile]) -> None:
    """Remembers which files the version of a preset has that `key` stands for."""
    content = {name: [file.size, file.digest] for name, file in files.items()}
    _write(_place("listings", key), json.dumps(content))


def read_listing(key: str) -> dict[str, ListedFile] | None:
    """Returns what `write_listing` remembered, or None."""
    try:
        content = json.loads(_place("listings", key).read_text(encoding="utf-8"))
        return {name: ListedFile(size, digest) for name, (size, digest) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # Gone or damaged: it is asked for again.
        return None


def record_absent(key: str, name: str) -> None:
    """Remembers that the version of a preset that `key` stands for has no such file."""
    _write(_place("absent", f"{key}//{name}"), "")


def is_absent(key: str, name: str) -> bool:
    """Returns whether `record_absent` was told so."""
    return _place("absent", f"{key}//{name}").exists()


def digest_of_blob(path: Path) -> str | None:
    """Returns the digest that a file of a Hugging Face cache is named after, if it is."""
    name = path.resolve().name
    is_digest = len(name) in (40, 64) and all(digit in "0123456789abcdef" for digit in name)
    return name if is_digest else None


def is_intact(path: Path, expected: ListedFile) -> bool:
    """Returns whether a cached file has the size and the digest it should have.

    The digest is computed once for a file, and again only when its size or time has changed.
    """
    status = path.stat()
    if expected.size is not None and status.st_size != expected.size:
        return False
    if expected.digest is None:
        return True
    seal = f"{expected.digest} {status.st_size} {status.st_mtime_ns}"
    place = _place("verified", str(path.resolve()))
    try:
        if place.read_text(encoding="utf-8") == seal:
            return True
    except OSError:
        pass  # not compared yet
    if _digest(path, status.st_size, expected.digest) != expected.digest:
        return False
    _write(place, seal)
    return True


def _digest(path: Path, size: int, like: str) -> str:
    is_git_blob = len(like) == 40
    digest = hashlib.sha1(usedforsecurity=False) if is_git_blob else hashlib.sha256()
    if is_git_blob:
        digest.update(b"blob %d\0" % size)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _place(kind: str, key: str) -> Path:
    # Keys hold paths and revisions of any length: names of files are made from their digest.
    short = quote(key[-40:], safe="")[-80:]
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return cache_directory() / "downloads" / kind / f"{digest}-{short}"


def _write(path: Path, content: str) -> None:
    """Writes a record whole or not at all; where the cache is read-only, nothing is remembered."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        Path(temporary).replace(path)
    except OSError:
        return
