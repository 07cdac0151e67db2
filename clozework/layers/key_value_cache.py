"""Keys and values of earlier tokens, as attention reads them fastest."""

from typing import Any, NamedTuple

import keras
from keras import ops

__all__ = ["KeyValueCache", "cache_spec", "num_places"]


class KeyValueCache(NamedTuple):
    """Keys and values of one layer, with heads before tokens; see `dot_product_attention`.

    Layers also take such a cache as one array `(batch, 2, places, heads, head_dim)`, which they
    have to turn around twice at each call.

    Attributes:
        keys, values: `(batch, heads, places, head_dim)`.

    Example:
    >>> cache = KeyValueCache.empty(1, 2, 5, 4)
    >>> token = np.ones((1, 1, 2, 4), "float32")
    >>> ops.convert_to_numpy(cache.updated(token, token, 3).keys)[0, 0, :, 0].tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0]
    """

    keys: Any
    values: Any

    @classmethod
    def empty(cls, batch: int, num_heads: int, places: int, head_dim: int, dtype=None):
        """Returns a cache of zeros."""
        shape = (batch, num_heads, places, head_dim)
        return cls(ops.zeros(shape, dtype), ops.zeros(shape, dtype))

    @classmethod
    def of(cls, cache) -> "KeyValueCache":
        """Returns a cache as it is, or that of an array `(batch, 2, places, heads, head_dim)`."""
        if isinstance(cache, cls):
            return cache
        return cls(*(ops.swapaxes(cache[:, i], 1, 2) for i in range(2)))

    def in_form_of(self, cache):
        """Returns the cache as it is, or as an array, whichever the other one is."""
        if isinstance(cache, KeyValueCache):
            return self
        return ops.stack([ops.swapaxes(x, 1, 2) for x in self], axis=1)

    def updated(self, keys, values, index) -> "KeyValueCache":
        """Returns the cache with keys and values `(batch, tokens, heads, head_dim)` put in.

        Args:
            keys, values: Of tokens that stand side by side.
            index: Place of the first of them, an int32 scalar.
        """
        new = (ops.swapaxes(x, 1, 2) for x in (keys, values))
        return KeyValueCache(
            *(
                ops.slice_update(old, (0, 0, index, 0), ops.cast(x, old.dtype))
                for old, x in zip(self, new, strict=True)
            )
        )


def num_places(cache) -> int:
    """Returns for how many tokens a cache, in either form, has room."""
    return ops.shape(cache.keys if isinstance(cache, KeyValueCache) else cache)[2]


def cache_spec(cache):
    """Returns symbolic tensors like those of a cache, in either form."""
    return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), cache)
