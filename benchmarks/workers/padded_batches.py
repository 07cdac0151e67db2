"""Classification as it is best done on runtimes that know no texts: tokens, batches, padding."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

__all__ = ["batches_of", "padded_runner", "read_texts", "tokenizer_of"]

# From token ids and a padding mask, `(batch, tokens)`, to logits `(batch, classes)`.
Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]


def padded_runner(settings: dict, forward: Forward) -> Callable[[], np.ndarray]:
    """Returns a function that classifies all texts, beginning with strings.

    Args:
        settings: `texts`, a file; `model`, a directory with a tokenizer; and what `batches_of`
            takes.
        forward: Computes one batch.
    """
    texts = read_texts(settings)
    tokenizer = tokenizer_of(settings["model"])

    def run() -> np.ndarray:
        rows = [row.ids for row in tokenizer.encode_batch_fast(texts)]
        logits: list[np.ndarray] = [np.zeros(0)] * len(rows)
        for chosen in batches_of([len(row) for row in rows], settings):
            outputs = forward(*_padded([rows[i] for i in chosen], settings["padding_id"]))
            for i, values in zip(chosen, outputs, strict=True):
                logits[i] = values
        return np.stack(logits).astype("float32")

    return run


def read_texts(settings: dict) -> list[str]:
    """Returns the texts of the job: one a line."""
    return Path(settings["texts"]).read_text(encoding="utf-8").splitlines()


def tokenizer_of(model: str) -> Tokenizer:
    """Returns the Rust tokenizer of a directory, which cuts at 512 tokens and does not pad."""
    tokenizer = Tokenizer.from_file(str(Path(model, "tokenizer.json")))
    tokenizer.enable_truncation(512)
    tokenizer.no_padding()
    return tokenizer


def batches_of(lengths: list[int], settings: dict) -> Iterator[list[int]]:
    """Yields the places of the texts of each batch.

    Args:
        lengths: Number of tokens of each text.
        settings: `is_sorted`, whether the longest come first; `budget`, the most tokens of a batch,
            padding included, or `batch_size`, its number of texts.
    """
    order = list(range(len(lengths)))
    if settings["is_sorted"]:
        order.sort(key=lambda i: -lengths[i])
    while order:
        longest = lengths[order[0]]
        size = settings.get("batch_size") or max(1, settings["budget"] // longest)
        yield order[:size]
        order = order[size:]


def _padded(rows: list[list[int]], padding_id: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.full((len(rows), max(map(len, rows))), padding_id, "int64")
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask
