"""Preprocessing for models that turn one text into another."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clozework.data import named_texts
from clozework.errors import InputError
from clozework.layers import StartEndPacker
from clozework.tasks.preprocessor import Preprocessor, checked_length
from clozework.tasks.text_inputs import text_examples

__all__ = ["Seq2SeqLMPreprocessor"]


class Seq2SeqLMPreprocessor(Preprocessor):
    """Turns pairs of strings into inputs, labels and weights of a `Seq2SeqLM`.

    Pairs are `{"encoder_text": ..., "decoder_text": ...}`, of a string each for one example, of
    lists of strings for a batch; what `Preprocessor` takes for pairs is taken as well.

    Args:
        tokenizer: The family's tokenizer.
        encoder_sequence_length, decoder_sequence_length: Number of tokens of every row, special
            ones included; `sequence_length` is another name of the second.

    Outputs: `(x, y, sample_weight)`: x as the model takes it, y for each token of the decoder the
        next one, sample_weight False where that is padding.
    """

    length_names = ("encoder_sequence_length", "decoder_sequence_length")
    text_names = ("encoder_text", "decoder_text")

    def __init__(
        self,
        tokenizer,
        encoder_sequence_length=1024,
        decoder_sequence_length=1024,
        *,
        name=None,
        dtype=None,
        trainable=True,
    ):
        super().__init__(
            tokenizer,
            checked_length("decoder_sequence_length", decoder_sequence_length),
            name=name,
            dtype=dtype,
            trainable=trainable,
        )
        self.encoder_sequence_length = encoder_sequence_length

    @property
    def encoder_sequence_length(self) -> int:
        """Number of tokens of every row of the encoder."""
        return self._encoder_sequence_length

    @encoder_sequence_length.setter
    def encoder_sequence_length(self, value: int):
        self._encoder_sequence_length = checked_length("encoder_sequence_length", value)

    @property
    def decoder_sequence_length(self) -> int:
        """Number of tokens of every row of the decoder."""
        return self.sequence_length

    @decoder_sequence_length.setter
    def decoder_sequence_length(self, value: int):
        self.sequence_length = checked_length("decoder_sequence_length", value)

    def __call__(
        self,
        x,
        y=None,
        sample_weight=None,
        encoder_sequence_length=None,
        decoder_sequence_length=None,
        sequence_length=None,
    ):
        """Returns `(x, y, sample_weight)` for training, whatever labels are handed in."""
        examples, is_batched = text_examples(named_texts(x, self.text_names))
        length = decoder_sequence_length or sequence_length or self.decoder_sequence_length
        encoder_texts, decoder_texts = _halves(examples)
        encoder = self._encoder_rows(encoder_texts, encoder_sequence_length)
        # One more, as each token is a label and the input of the next.
        token_ids, mask = self._decoder_rows(decoder_texts, length + 1, is_finished=True)
        inputs = {
            **encoder,
            "decoder_token_ids": token_ids[:, :-1],
            "decoder_padding_mask": mask[:, :-1],
        }
        outputs = (inputs, token_ids[:, 1:], mask[:, 1:])
        if is_batched:
            return outputs
        return {name: v[0] for name, v in inputs.items()}, outputs[1][0], outputs[2][0]

    def generate_preprocess(
        self,
        x,
        encoder_sequence_length=None,
        decoder_sequence_length=None,
        sequence_length=None,
    ) -> dict[str, np.ndarray]:
        """Returns inputs for generation: the decoder's rows hold what a text begins with.

        Args:
            x: A text for the encoder, a list of them, or a dict of `"encoder_text"` and, where
                given, `"decoder_text"`, what the outputs begin with.
            encoder_sequence_length, decoder_sequence_length, sequence_length: In place of those
                of the preprocessor; the last two are the same.
        """
        if isinstance(x, Mapping) and "decoder_text" not in x and "encoder_text" in x:
            x = x["encoder_text"]
        examples, is_batched = text_examples(named_texts(x, self.text_names))
        examples = [(e, "") if isinstance(e, str) else e for e in examples]
        encoder_texts, decoder_texts = _halves(examples)
        length = decoder_sequence_length or sequence_length or self.decoder_sequence_length
        token_ids, mask = self._decoder_rows(decoder_texts, length, is_finished=False)
        arrays = {
            **self._encoder_rows(encoder_texts, encoder_sequence_length),
            "decoder_token_ids": token_ids,
            "decoder_padding_mask": mask,
        }
        return arrays if is_batched else {name: values[0] for name, values in arrays.items()}

    def generate_postprocess(self, x):
        """Returns the decoder's tokens as a string, or as a list of them for a batch."""
        token_ids = np.asarray(x["decoder_token_ids"])
        is_kept = np.asarray(x["decoder_padding_mask"]).astype(bool)
        is_kept &= ~np.isin(token_ids, self.tokenizer.special_token_ids)
        if token_ids.ndim == 1:
            return self.tokenizer.detokenize(token_ids[is_kept].tolist())
        rows = [ids[kept].tolist() for ids, kept in zip(token_ids, is_kept, strict=True)]
        return self.tokenizer.detokenize(rows)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["sequence_length"], config["truncate"]
        return {**config, **{name: getattr(self, name) for name in self.length_names}}

    def _encoder_rows(self, texts: list[str], length: int | None) -> dict[str, np.ndarray]:
        start, end = self.tokenizer.start_token_id, self.tokenizer.end_token_id
        length = self.encoder_sequence_length if length is None else length
        token_ids, mask = self._rows(texts, length, start=[start], end=[end])
        return {"encoder_token_ids": token_ids, "encoder_padding_mask": mask}

    def _decoder_rows(self, texts: list[str], length: int, *, is_finished: bool):
        start, end = self.tokenizer.start_token_id, self.tokenizer.end_token_id
        return self._rows(texts, length, start=[end, start], end=[end] if is_finished else [])

    def _rows(self, texts: list[str], length: int, *, start: list[int], end: list[int]):
        ids = self.tokenizer.encode_ids(texts)
        needed = np.array([len(start) + len(row) + len(end) for row in ids], "int64")
        packer = StartEndPacker(
            sequence_length=length,
            start_value=start,
            end_value=end,
            pad_value=self.tokenizer.pad_token_id,
            return_padding_mask=True,
        )
        self._warn_if_cut(needed, length)
        token_ids, mask = packer(ids)
        return np.asarray(token_ids), np.asarray(mask)


def _halves(examples: list) -> tuple[list[str], list[str]]:
    """Returns the encoder's and the decoder's texts of pairs."""
    for i, example in enumerate(examples):
        if isinstance(example, str) or len(example) != 2:
            raise InputError(
                f"Example {i} is {example!r:.80}, but a text for the encoder and one for the "
                f"decoder were expected: {{'encoder_text': ..., 'decoder_text': ...}}."
            )
    return [first for first, _ in examples], [second for _, second in examples]
