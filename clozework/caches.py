"""Folders for what can be fetched or made again."""

import os
from pathlib import Path

__all__ = ["cache_directory", "hugging_face_cache", "kaggle_cache"]


def cache_directory() -> Path:
    """Returns Clozework's own folder: `CLOZEWORK_CACHE`, or a place in the user's cache."""
    chosen = os.environ.get("CLOZEWORK_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clozework"


def hugging_face_cache() -> Path:
    """Returns the folder in which `huggingface_hub` keeps the models that it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def kaggle_cache() -> Path:
    """Returns the folder in which `kagglehub` keeps the models that it fetched."""
    cache = os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub"
    return Path(cache) / "models"
