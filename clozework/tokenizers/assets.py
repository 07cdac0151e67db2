"""Vocabulary files: where they are, and what they say."""

import os
from pathlib import Path

from clozework.errors import PresetError, PresetNotFoundError

__all__ = ["asset_path", "read_bytes", "read_text"]


def asset_path(directory: str | os.PathLike, name: str) -> Path:
    """Returns the path of an asset in a directory, which has to exist."""
    path = Path(directory)
    if not path.is_dir():
        raise PresetNotFoundError(f"'{path}' is not a directory, and so cannot hold '{name}'.")
    return path / name


def read_bytes(path: str | os.PathLike, what: str) -> bytes:
    """Returns a file's content; `what` says in errors what it should have been."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PresetNotFoundError(
            f"There is no file '{path}' to read a {what} from. Check the path, or pass the content "
            "itself."
        ) from error


def read_text(path: str | os.PathLike, what: str) -> str:
    """Returns a text file's content, every line of which ends with a line feed alone."""
    try:
        text = read_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PresetError(f"'{path}' is no {what}: it is not text in UTF-8 ({error}).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
