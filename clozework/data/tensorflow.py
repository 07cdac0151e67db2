"""`tf.data` and TensorFlow's tensors, as far as users hand them in.

TensorFlow is never imported here: who has such an object has imported it already.
"""

from collections.abc import Iterator

__all__ = ["elements", "is_dataset", "is_tensor", "num_elements"]


def is_dataset(value) -> bool:
    """Tells whether `value` is a `tf.data.Dataset`."""
    return _is_a(value, "DatasetV2")


def is_tensor(value) -> bool:
    """Tells whether `value` is a `tf.Tensor` (or a ragged one) with known values."""
    return _is_a(value, "EagerTensor") or _is_a(value, "RaggedTensor")


def elements(dataset) -> Iterator:
    """Returns an iterator over the elements with NumPy arrays (and bytes) for tensors."""
    return dataset.as_numpy_iterator()


def num_elements(dataset) -> int | None:
    """Returns the number of elements, or None if there is no end or TensorFlow cannot tell."""
    cardinality = int(dataset.cardinality())
    # Negative numbers: https://www.tensorflow.org/api_docs/python/tf/data#other_members
    return None if cardinality < 0 else cardinality


def _is_a(value, class_name: str) -> bool:
    return any(
        cls.__name__ == class_name and cls.__module__.partition(".")[0] == "tensorflow"
        for cls in type(value).__mro__
    )
