"""Models that read texts of any lengths in rows that they share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.backend import compiled_program, shared_traces
from clozework.data import FIRST_TOKENS, SHORTEST_TEXT, PackedRows
from clozework.tasks.packed_texts import packed_batch
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.recorded_model import RecordedModel

__all__ = ["PackingModel"]


class PackingModel(RecordedModel):
    """Base class of tasks, whose inputs may be packed; see `clozework.data.packed_rows`.

    A subclass that has `call_packed` packs its texts, where its backbone knows a padding mask.
    """

    backbone: Any
    preprocessor: Any
    # Packed rows have room for a text for each so many tokens.
    shortest_text: ClassVar[int] = SHORTEST_TEXT
    # Numbers of tokens of some of the texts that batches are made of; see `plan_batch`.
    usual_lengths: tuple[int, ...] = ()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._packed_program = compiled_program(
            lambda packed: self(packed, training=False),
            read=lambda: self.variables,
            changed=lambda: (),
            open_axes=2 if self.backbone.has_open_row_length else 1,
        )

    def call(self, inputs, training=None, mask=None):
        if isinstance(inputs, Mapping) and FIRST_TOKENS in inputs:
            tensors = {name: keras.ops.convert_to_tensor(x) for name, x in inputs.items()}
            with shared_traces():
                return _OuterLayer(self.call_packed)(tensors, training=training)
        return super().call(inputs, training=training, mask=mask)

    def call_packed(self, inputs):
        """Returns the outputs of packed rows: those of each text, where they are of texts.

        A task that has it needs no padding; see `clozework.data.packed_rows`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not pack texts.")

    def start_packed(self, inputs: Mapping[str, np.ndarray]):
        """Returns the outputs of packed rows, which a device may still compute; see `call_packed`.

        Unlike that of Keras's `predict_on_batch`, the program does not take the weights over.
        """
        with self._in_use:
            return self._packed_program(dict(inputs))

    @property
    def packs_texts(self) -> bool:
        """Whether several texts may share a row."""
        return (
            "padding_mask" in self.backbone.input_names
            and type(self).call_packed is not PackingModel.call_packed
            # Devices share a batch by its first axis, which has to be the same of texts and rows.
            and keras.distribution.distribution() is None
        )

    def token_counts(self, examples: Sequence[Any]) -> np.ndarray:
        """Returns the numbers of tokens of the texts that a batch of examples is packed from."""
        return self.preprocessor.num_tokens(examples)

    def output_of_text(self, values: np.ndarray, step: PackedRows, i: int) -> np.ndarray:
        """Returns what belongs to `step.texts[i]` among the outputs of packed rows."""
        return values[step.slots[i]]

    def predicted(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns what `predict` makes of the outputs of all texts."""
        return np.stack(outputs)

    def compact(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the inputs of one batch with next to no padding: packed, or else cut."""
        if not self.packs_texts:
            return without_needless_padding(arrays)
        return packed_batch(self, arrays).pack(arrays)


class _OuterLayer(keras.layers.Layer):
    """Tells all layers that a function calls whether they are being trained, as a layer does.

    A functional model tells each of its layers. In a `call` of our own only an outer layer would,
    and there is none while Keras trains with JAX: it calls `call` itself, in `stateless_call`:
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/layers/layer.py
    """

    def __init__(self, function):
        super().__init__(autocast=False, name="packed")
        self.function = function
        self.built = True

    def call(self, inputs, training=None):
        return self.function(inputs)
