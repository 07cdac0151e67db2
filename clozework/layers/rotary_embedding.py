"""Positions as rotations of the vectors."""

import math

import keras
import numpy as np
from keras import ops

from clozework.errors import ConfigError, InputError

__all__ = ["RotaryEmbedding"]

_ROPE_TYPES = ("linear", "dynamic", "yarn")


@keras.saving.register_keras_serializable("clozework")
class RotaryEmbedding(keras.layers.Layer):
    """Rotates pairs of features by angles that grow with the position.

    Paper: Su et al., 2021, https://arxiv.org/abs/2104.09864

    Args:
        max_wavelength: Base of the wavelengths, in positions.
        scaling_factor: How many times longer texts are than those the model was trained on.
        rope_type: What that changes: `"linear"` all wavelengths alike, `"dynamic"` their base,
            `"yarn"` the long ones only (Peng et al., 2023, https://arxiv.org/abs/2309.00071).
        beta_fast, beta_slow, original_max_position_embeddings, truncate: Of `"yarn"`: rotations
            within the original length above which a wavelength stays, below which it is scaled,
            that length, and whether these borders are whole numbers.
        sequence_axis, feature_axis: Axes of the tokens and of what is rotated.
        denominator_dim: Width that wavelengths are spread over; that of the features by default.

    Call arguments:
        inputs: Of any rank, such as `(batch, tokens, heads, head_dim)`; the first axis is the
            batch.
        start_index: Position of the first token.
        positions: Positions `(tokens,)` or `(batch, tokens)`, in place of 0, 1, 2, ...

    Outputs: of the shape of the inputs.

    Raises:
        InputError: If the number of features is odd, or an axis does not exist.

    Example:
    >>> RotaryEmbedding()(np.ones((2, 5, 3, 4))).shape
    (2, 5, 3, 4)
    """

    def __init__(
        self,
        max_wavelength: float = 10000,
        scaling_factor=1.0,
        rope_type="linear",
        beta_fast=32.0,
        beta_slow=1.0,
        original_max_position_embeddings=4096,
        truncate=True,
        sequence_axis=1,
        feature_axis=-1,
        denominator_dim=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if rope_type not in _ROPE_TYPES:
            raise ConfigError(
                f"`rope_type` must be one of {', '.join(_ROPE_TYPES)}, not {rope_type!r}."
            )
        self.max_wavelength = max_wavelength
        self.scaling_factor = scaling_factor
        self.rope_type = rope_type
        self.beta_fast = beta_fast
        self.beta_slow = beta_slow
        self.original_max_position_embeddings = original_max_position_embeddings
        self.truncate = truncate
        self.sequence_axis = sequence_axis
        self.feature_axis = feature_axis
        self.denominator_dim = denominator_dim
        self.built = True

    def call(self, inputs, start_index=0, positions=None):
        axes = self._axes(inputs.shape)
        x = ops.moveaxis(inputs, axes, (1, -1))
        # Angles in float32: a half float cannot tell positions above 2,048 apart.
        if positions is None:
            positions = ops.arange(ops.shape(x)[1], dtype="float32")
            positions = positions + ops.cast(start_index, "float32")
        positions = ops.cast(positions, "float32")
        if len(positions.shape) == 1:
            positions = positions[None, :]
        frequencies = ops.convert_to_tensor(self._frequencies(x.shape[-1]))
        angles = positions[:, :, None] * frequencies
        angles = ops.reshape(
            angles,
            (*ops.shape(angles)[:2], *(1,) * (len(x.shape) - 3), x.shape[-1] // 2),
        )
        cosine, sine = (self._scale() * ops.cast(f(angles), self.compute_dtype) for f in _ROTATION)
        first, second = ops.split(x, 2, axis=-1)
        rotated = ops.concatenate(
            [first * cosine - second * sine, second * cosine + first * sine], axis=-1
        )
        return ops.moveaxis(rotated, (1, -1), axes)

    def compute_output_shape(self, inputs_shape, **other_shapes):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "max_wavelength": self.max_wavelength,
            "scaling_factor": self.scaling_factor,
            "rope_type": self.rope_type,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "truncate": self.truncate,
            "sequence_axis": self.sequence_axis,
            "feature_axis": self.feature_axis,
            "denominator_dim": self.denominator_dim,
        }

    def _axes(self, shape) -> tuple[int, int]:
        """Returns the axes of tokens and features, counted from the first."""
        rank = len(shape)
        axes = (
            self.sequence_axis + rank * (self.sequence_axis < 0),
            self.feature_axis + rank * (self.feature_axis < 0),
        )
        if not all(0 < axis < rank for axis in axes) or axes[0] == axes[1]:
            raise InputError(
                f"`{self.name}` needs tokens on axis {self.sequence_axis} and features on axis "
                f"{self.feature_axis}, behind the batch. Received: an input of rank {rank}."
            )
        if shape[axes[1]] % 2:
            raise InputError(
                f"`{self.name}` rotates pairs of features; their number must be even, but is "
                f"{shape[axes[1]]}."
            )
        return axes

    def _frequencies(self, num_features: int) -> np.ndarray:
        """Returns the rotation of each pair from one position to the next, in radians."""
        width = num_features if self.rope_type == "yarn" else self.denominator_dim or num_features
        exponents = np.arange(0, num_features, 2) / width
        frequencies = float(self.max_wavelength) ** -exponents
        if self.rope_type == "linear":
            frequencies = frequencies / self.scaling_factor
        elif self.rope_type == "dynamic":
            power = num_features / max(1, num_features - 2)
            frequencies = frequencies / self.scaling_factor**power
        else:
            scaled = self._scaled_share(num_features)
            frequencies = frequencies * (scaled / self.scaling_factor + 1.0 - scaled)
        return frequencies.astype("float32")

    def _scaled_share(self, num_features: int) -> np.ndarray:
        """Returns for each pair how far its wavelength is scaled, 0 to 1, under `"yarn"`."""

        def pair_with(rotations):
            length = self.original_max_position_embeddings / (rotations * 2 * math.pi)
            return num_features * math.log(length) / (2 * math.log(self.max_wavelength))

        low, high = pair_with(self.beta_fast), pair_with(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, num_features - 1)
        pairs = np.arange(num_features // 2)
        return np.clip((pairs - low) / max(high - low, 0.001), 0.0, 1.0)

    def _scale(self) -> float:
        return 0.1 * math.log(self.scaling_factor) + 1.0 if self.rope_type == "yarn" else 1.0


_ROTATION = (ops.cos, ops.sin)
