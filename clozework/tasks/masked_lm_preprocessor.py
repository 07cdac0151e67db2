"""Preprocessing for masked language models: random masks for training, written ones for use."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from clozework.errors import ClozeworkWarning, InputError
from clozework.layers import MaskedLMMaskGenerator, check_mask_rates
from clozework.presets import families
from clozework.tasks.preprocessor import Preprocessor
from clozework.tasks.text_inputs import text_examples

__all__ = ["MaskedLMPreprocessor"]


class MaskedLMPreprocessor(Preprocessor):
    """Turns strings into inputs with masks, labels and their weights; see `Preprocessor`.

    Args:
        tokenizer, sequence_length, truncate: As in `Preprocessor`.
        mask_selection_rate: Probability of a token to be selected for prediction.
        mask_selection_length: Most selected tokens of a row; what is short of it is padded.
        mask_token_rate: Share of the selected tokens that become the mask token.
        random_token_rate: Share of them that become a random token; the rest stay.
        mask_seed: Makes the masks the same each time; None draws anew, as
            `keras.utils.set_random_seed` says.

    Outputs: `(x, y, sample_weight)`: x as the model takes it with `"mask_positions"`
        `(batch, mask_selection_length)`, y the ids that stood there, sample_weight 1 for a mask.
    """

    def __init__(
        self,
        tokenizer,
        sequence_length=512,
        truncate="round_robin",
        mask_selection_rate=0.15,
        mask_selection_length=96,
        mask_token_rate=0.8,
        random_token_rate=0.1,
        *,
        mask_seed=None,
        **kwargs,
    ):
        super().__init__(tokenizer, sequence_length, truncate, **kwargs)
        self.mask_selection_rate = mask_selection_rate
        self.mask_selection_length = mask_selection_length
        self.mask_token_rate = mask_token_rate
        self.random_token_rate = random_token_rate
        self.mask_seed = mask_seed
        check_mask_rates(mask_selection_rate, mask_token_rate, random_token_rate)
        self._mask_generator = None

    def __call__(self, x, y=None, sample_weight=None, sequence_length=None):
        """Returns `(x, y, sample_weight)` with random masks, whatever labels are handed in."""
        examples, is_batched = text_examples(x)
        batch = self.pack(self.encode(examples), sequence_length)
        if self._mask_generator is None:
            self._mask_generator = self._make_mask_generator()
        masked = self._mask_generator(batch["token_ids"])
        # Of no texts, the generator cannot tell how long their rows would be.
        token_ids = masked["token_ids"].reshape(batch["token_ids"].shape)
        outputs = (
            {**batch, "token_ids": token_ids, "mask_positions": masked["mask_positions"]},
            masked["mask_ids"],
            masked["mask_weights"],
        )
        if is_batched:
            return outputs
        return {name: v[0] for name, v in outputs[0].items()}, outputs[1][0], outputs[2][0]

    def written_masks(
        self, examples: Sequence[Any], sequence_length: int | None = None
    ) -> dict[str, np.ndarray]:
        """Returns inputs that ask for the masks which stand in the texts.

        Args:
            examples: Texts, or tuples of texts, that hold the mask token, such as `"[MASK]"`.
            sequence_length: Number of tokens of every row.

        Returns:
            The model's inputs; `"mask_positions"` is `(batch, masks)`, as wide as the most masks of
            a text. Rows with fewer repeat their last one.

        Raises:
            InputError: If a text has no mask, or has one behind the place where it is cut.
        """
        ids = self.encode(examples, special_tokens_in_strings=True)
        batch = self.pack(ids, sequence_length)
        is_mask = batch["token_ids"] == self.tokenizer.mask_token_id
        counts = is_mask.sum(axis=1)
        for i, (example, found) in enumerate(zip(ids, counts, strict=True)):
            written = sum(segment.count(self.tokenizer.mask_token_id) for segment in example)
            self._check_masks(i, examples[i], written, int(found), batch["token_ids"].shape[1])
        self._warn_of_other_masks(examples)
        positions = np.zeros((len(ids), counts.max(initial=0)), "int32")
        for row, is_mask_of_row in zip(positions, is_mask, strict=True):
            found = np.flatnonzero(is_mask_of_row)
            row[: len(found)] = found
            row[len(found) :] = found[-1]
        return {**batch, "mask_positions": positions}

    def get_config(self):
        config = {
            **super().get_config(),
            "mask_selection_rate": self.mask_selection_rate,
            "mask_selection_length": self.mask_selection_length,
            "mask_token_rate": self.mask_token_rate,
            "random_token_rate": self.random_token_rate,
        }
        return config if self.mask_seed is None else {**config, "mask_seed": self.mask_seed}

    def _check_masks(self, i: int, text, written: int, found: int, length: int) -> None:
        mask = self.tokenizer.mask_token
        shown = repr(text if len(str(text)) <= 80 else f"{str(text)[:77]}...")
        if not written:
            raise InputError(
                f"Text {i} has no mask to fill: {shown}. Write {mask!r} where a word is wanted."
            )
        if found < written:
            raise InputError(
                f"Text {i} has {written - found} of its {written} masks behind token {length}, "
                f"where it is cut: {shown}. Shorten it, or raise `sequence_length`."
            )

    def _warn_of_other_masks(self, examples: Sequence[Any]) -> None:
        """Says of masks as other families write them that they are text like any other here."""
        known = {family.tokenizer.special_tokens_by_role.get("mask") for family in families()}
        others = sorted(known - {self.tokenizer.mask_token, None})
        for i, example in enumerate(examples):
            found = [token for token in others if token in " ".join(_texts_of(example))]
            if found:
                warnings.warn(
                    f"Text {i} holds {found[0]!r}, which is no mask to this model but text like "
                    f"any other. Write {self.tokenizer.mask_token!r} where a word is wanted.",
                    ClozeworkWarning,
                    stacklevel=4,
                )

    def _make_mask_generator(self) -> MaskedLMMaskGenerator:
        # At the first use: of a `.keras` file the tokenizer gets its vocabulary last.
        tokenizer = self.tokenizer
        return MaskedLMMaskGenerator(
            vocabulary_size=tokenizer.vocabulary_size(),
            mask_selection_rate=self.mask_selection_rate,
            mask_token_id=tokenizer.mask_token_id,
            mask_selection_length=self.mask_selection_length,
            unselectable_token_ids=[
                tokenizer.start_token_id,
                tokenizer.end_token_id,
                tokenizer.pad_token_id,
            ],
            mask_token_rate=self.mask_token_rate,
            random_token_rate=self.random_token_rate,
            seed=self.mask_seed,
        )


def _texts_of(example) -> tuple[str, ...]:
    return (example,) if isinstance(example, str) else tuple(example)
