"""Preprocessing for causal language models: shifted labels for training, prompts for generation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clozework.errors import InputError
from clozework.layers import StartEndPacker
from clozework.tasks.preprocessor import Preprocessor
from clozework.tasks.text_inputs import text_examples

__all__ = ["CausalLMPreprocessor"]


class CausalLMPreprocessor(Preprocessor):
    """Turns strings into inputs, the tokens that follow, and weights; see `Preprocessor`.

    Args:
        tokenizer, sequence_length: As in `Preprocessor`.
        add_start_token, add_end_token: Whether texts get a token at their start, and at their end.

    Outputs: `(x, y, sample_weight)`: x as the model takes it, y `(batch, sequence_length)` the
        token behind each token, sample_weight true where that is no padding.
    """

    def __init__(
        self,
        tokenizer,
        sequence_length=1024,
        add_start_token=True,
        add_end_token=True,
        **kwargs,
    ):
        super().__init__(tokenizer, sequence_length, **kwargs)
        self.add_start_token = add_start_token
        self.add_end_token = add_end_token

    def __call__(self, x, y=None, sample_weight=None, sequence_length=None):
        """Returns `(x, y, sample_weight)`, whatever labels are handed in."""
        texts, is_batched = self._texts(x)
        length = self.sequence_length if sequence_length is None else sequence_length
        rows = self.tokenizer.encode_ids(texts)
        # One more, as inputs lack the last token, and labels the first.
        token_ids, mask = self._packed(rows, length + 1, self.add_end_token)
        num_specials = self.add_start_token + self.add_end_token
        self._warn_if_cut(np.array([len(row) + num_specials for row in rows], "int64"), length + 1)
        batch = {"token_ids": token_ids[:, :-1], "padding_mask": mask[:, :-1]}
        outputs = (batch, token_ids[:, 1:], mask[:, 1:])
        if is_batched:
            return outputs
        return {name: v[0] for name, v in batch.items()}, outputs[1][0], outputs[2][0]

    def generate_preprocess(self, x, sequence_length=None) -> dict[str, np.ndarray]:
        """Returns prompts as arrays with room for what is generated: no end, then padding.

        Args:
            x: A string, or a list of strings.
            sequence_length: Number of tokens of a row, that of the preprocessor by default.

        Raises:
            InputError: If a prompt has more tokens than that.
        """
        texts, is_batched = self._texts(x)
        length = self.sequence_length if sequence_length is None else sequence_length
        rows = self.tokenizer.encode_ids(texts)
        longest = max(map(len, rows), default=0) + self.add_start_token
        if longest > length:
            raise InputError(
                f"A prompt has {longest} tokens, but a text is to have at most {length}, prompt "
                f"included. Raise `max_length`, or shorten the prompt."
            )
        token_ids, mask = self._packed(rows, length, False)
        batch = {"token_ids": token_ids, "padding_mask": mask}
        return batch if is_batched else {name: values[0] for name, values in batch.items()}

    def prompt_length(self, x) -> int:
        """Returns the number of tokens of the longest prompt; x as in `generate_preprocess`."""
        rows = self.tokenizer.encode_ids(self._texts(x)[0])
        return max(map(len, rows), default=0) + self.add_start_token

    def generate_postprocess(self, x: Mapping[str, Any]):
        """Returns the text of generated rows, without special tokens and padding.

        Args:
            x: `"token_ids"` and `"padding_mask"`, `(batch, tokens)`, or `(tokens,)` for one text.
        """
        token_ids, mask = np.asarray(x["token_ids"]), np.asarray(x["padding_mask"]).astype(bool)
        mask = mask & ~np.isin(token_ids, self.tokenizer.special_token_ids)
        if token_ids.ndim == 1:
            return self.tokenizer.detokenize(token_ids[mask])
        return [
            self.tokenizer.detokenize(row[is_kept])
            for row, is_kept in zip(token_ids, mask, strict=True)
        ]

    def get_config(self):
        config = super().get_config()
        del config["truncate"]
        return {
            **config,
            "add_start_token": self.add_start_token,
            "add_end_token": self.add_end_token,
        }

    def _packed(self, rows: Sequence[list[int]], length: int, has_end: bool) -> tuple[Any, Any]:
        packer = StartEndPacker(
            sequence_length=length,
            start_value=self.tokenizer.start_token_id,
            end_value=self.tokenizer.end_token_id,
            pad_value=self.tokenizer.pad_token_id,
            return_padding_mask=True,
        )
        token_ids, mask = packer(
            list(rows), add_start_value=self.add_start_token, add_end_value=has_end
        )
        return token_ids, mask

    def _texts(self, x) -> tuple[list[str], bool]:
        texts, is_batched = text_examples(x)
        pairs = [i for i, text in enumerate(texts) if not isinstance(text, str)]
        if pairs:
            raise InputError(
                f"A causal language model takes strings, but text {pairs[0]} is a pair. Join its "
                f"parts."
            )
        return texts, is_batched
