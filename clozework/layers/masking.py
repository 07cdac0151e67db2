"""Choice of the tokens a masked language model has to predict: NumPy only, before any model."""

import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from clozework.errors import ConfigError
from clozework.layers.packing import as_token_rows

__all__ = ["MaskedLMMaskGenerator", "check_mask_rates"]


def check_mask_rates(mask_selection_rate, mask_token_rate, random_token_rate) -> None:
    """Raises `ConfigError` for rates that cannot be; see `MaskedLMMaskGenerator`."""
    for argument, rate in (
        ("mask_selection_rate", mask_selection_rate),
        ("mask_token_rate", mask_token_rate),
        ("random_token_rate", random_token_rate),
        ("mask_token_rate + random_token_rate", mask_token_rate + random_token_rate),
    ):
        # The sum of two rates may exceed 1 by a rounding error.
        if not 0 <= rate <= 1 + 1e-9:
            raise ConfigError(f"{argument} must be between 0 and 1, got {rate}.")


class MaskedLMMaskGenerator:
    """Selects tokens at random and replaces most of them, as BERT's pretraining does.

    Paper: Devlin et al., 2018, https://arxiv.org/abs/1810.04805

    Args:
        vocabulary_size: Number of ids; random replacements are drawn from all of them.
        mask_selection_rate: Probability of a token to be selected.
        mask_token_id: Id of the mask token.
        mask_selection_length: Most tokens selected in a sequence. Where it is set, what is selected
            is padded to this length with zeros; otherwise these outputs are lists of arrays.
        unselectable_token_ids: Ids that are never selected.
        mask_token_rate: Share of the selected tokens that become the mask token.
        random_token_rate: Share of them that become a random token; the rest stay as they are.
        seed: Makes the sequence of choices the same each time; `None` draws from Python's `random`
            in each call, which `keras.utils.set_random_seed` governs.
        name: Name that goes into the config, as for `dtype` and `trainable`.

    Inputs: token ids, one sequence or a batch of them.
    Outputs: `"token_ids"` after masking, `"mask_positions"`, `"mask_ids"` (the original ids at
    these
        positions) and `"mask_weights"` (1 for a selected token, 0 for padding).

    Example:
    >>> masker = MaskedLMMaskGenerator(10, 1.0, mask_token_id=3, mask_selection_length=4,
    ...                                mask_token_rate=1.0, random_token_rate=0.0)
    >>> masker([7, 8, 0])["token_ids"].tolist(), masker([7, 8, 0])["mask_ids"].tolist()
    ([3, 3, 0], [7, 8, 0, 0])
    """

    def __init__(
        self,
        vocabulary_size,
        mask_selection_rate,
        mask_token_id,
        mask_selection_length=None,
        unselectable_token_ids: Sequence[int] = [0],
        mask_token_rate=0.8,
        random_token_rate=0.1,
        *,
        seed=None,
        name=None,
        dtype="float32",
        trainable=True,
    ):
        if not 0 <= mask_token_id < vocabulary_size:
            raise ConfigError(
                f"mask_token_id={mask_token_id} is not in the vocabulary, which has the ids 0 to "
                f"{vocabulary_size - 1}."
            )
        check_mask_rates(mask_selection_rate, mask_token_rate, random_token_rate)
        self.vocabulary_size = vocabulary_size
        self.mask_selection_rate = mask_selection_rate
        self.mask_token_id = mask_token_id
        self.mask_selection_length = mask_selection_length
        self.unselectable_token_ids = list(unselectable_token_ids or ())
        self.mask_token_rate = mask_token_rate
        self.random_token_rate = random_token_rate
        self.seed = seed
        self.name = name or "masked_lm_mask_generator"
        self.dtype = dtype
        self.trainable = trainable
        self._seeded = None if seed is None else np.random.default_rng(seed)

    def __call__(self, inputs) -> dict[str, Any]:
        """Masks `inputs`; every call draws anew."""
        rows, is_batch = as_token_rows(inputs)
        lengths = np.array([len(row) for row in rows], dtype="int64")
        token_ids = np.zeros((len(rows), lengths.max(initial=0)), dtype="int32")
        is_token = np.arange(token_ids.shape[1]) < lengths[:, None]
        token_ids[is_token] = np.fromiter(chain.from_iterable(rows), "int32", count=lengths.sum())

        generator = self._seeded or np.random.default_rng(random.getrandbits(64))
        selected = self._selected(token_ids, is_token, generator)
        masked = self._replaced(token_ids, selected, generator)
        if (lengths < token_ids.shape[1]).any():
            masked = [row[:length] for row, length in zip(masked, lengths, strict=True)]
        outputs = {"token_ids": masked, **self._selected_values(token_ids, selected)}
        return outputs if is_batch else {key: value[0] for key, value in outputs.items()}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype,
            "vocabulary_size": self.vocabulary_size,
            "mask_selection_rate": self.mask_selection_rate,
            "mask_selection_length": self.mask_selection_length,
            "unselectable_token_ids": self.unselectable_token_ids,
            "mask_token_id": self.mask_token_id,
            "mask_token_rate": self.mask_token_rate,
            "random_token_rate": self.random_token_rate,
        }
        # KerasHub's layer has no seed and would refuse the key.
        return config if self.seed is None else {**config, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        """Returns a generator with the arguments that `get_config` gave."""
        return cls(**config)

    def _selected(
        self, token_ids: np.ndarray, is_token: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Returns a mask of the tokens to predict."""
        chances = generator.random(token_ids.shape)
        is_selectable = is_token & ~np.isin(token_ids, self.unselectable_token_ids)
        selected = is_selectable & (chances < self.mask_selection_rate)
        limit = self.mask_selection_length
        if limit is not None and limit < token_ids.shape[1]:
            # Of too many, those with the smallest chances stay: a random choice among the selected.
            ranks = np.where(selected, chances, 2.0).argsort(axis=1).argsort(axis=1)
            selected &= ranks < limit
        return selected

    def _replaced(
        self, token_ids: np.ndarray, selected: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        chances = generator.random(token_ids.shape)
        drawn = generator.integers(0, self.vocabulary_size, token_ids.shape, dtype="int32")
        masked = selected & (chances < self.mask_token_rate)
        randomised = selected & ~masked & (chances < self.mask_token_rate + self.random_token_rate)
        return np.where(
            masked, np.int32(self.mask_token_id), np.where(randomised, drawn, token_ids)
        )

    def _selected_values(self, token_ids: np.ndarray, selected: np.ndarray) -> dict[str, Any]:
        rows, columns = np.nonzero(selected)
        counts = selected.sum(axis=1)
        values = {
            "mask_positions": columns.astype("int32"),
            "mask_ids": token_ids[rows, columns],
            "mask_weights": np.ones(len(rows), dtype=self.dtype),
        }
        if self.mask_selection_length is None:
            borders = np.cumsum(counts)[:-1]
            return {key: np.split(value, borders) for key, value in values.items()}
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        outputs = {}
        for key, value in values.items():
            outputs[key] = np.zeros((len(counts), self.mask_selection_length), dtype=value.dtype)
            outputs[key][rows, places] = value
        return outputs
