"""Examples whose texts have names, such as `{"encoder_text": ..., "decoder_text": ...}`."""

from collections.abc import Iterator, Mapping, Sequence

import keras

from clozework.data.columns import as_frame, describe, is_text
from clozework.data.streams import Stream, open_stream
from clozework.errors import InputError

__all__ = ["named_texts"]


def named_texts(x, names: Sequence[str], *, optional: Sequence[str] = ()):
    """Returns x with a tuple, in the order of `names`, for each mapping from names to texts.

    Args:
        x: A dict or a table of columns, a list of dicts, or a stream that yields dicts of texts or
            of columns, with labels or without. Anything else is returned as it is; columns of
            other names are left out.
        names: The names of the texts of an example.
        optional: Those of them that an element of a stream may do without.

    Raises:
        InputError: If a name is missing.

    Example:
    >>> named_texts({"question": ["Who?"], "answer": ["I."]}, ("question", "answer"))
    (['Who?'], ['I.'])
    """
    names = tuple(names)
    if isinstance(x, keras.utils.PyDataset):
        return _NamedPyDataset(x, names, optional)
    stream = None if isinstance(x, Mapping) else open_stream(x)
    if stream is None:
        return _named(x, names)
    named = _NamedStream(stream, names, optional)
    return iter(named) if stream.is_one_shot else named


def _named(x, names: tuple[str, ...]):
    if isinstance(x, Mapping):
        return _in_order(x, names)
    frame = as_frame(x)
    if frame is not None:
        return _in_order(dict(frame), names)
    if isinstance(x, list) and x and all(isinstance(row, Mapping) for row in x):
        rows = [_in_order(row, names) for row in x]
        return tuple(list(column) for column in zip(*rows, strict=True))
    return x


def _in_order(columns: Mapping, names: tuple[str, ...]) -> tuple:
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(
            f"{' and '.join(map(repr, missing))} is missing among "
            f"{', '.join(map(repr, columns)) or 'no names'}. Expected a dict of "
            f"{' and '.join(map(repr, names))}."
        )
    ordered = tuple(columns[name] for name in names)
    texts = [is_text(value) for value in ordered]
    if any(texts) and not all(texts):
        shown = ", ".join(f"{n!r}: {describe(v)}" for n, v in zip(names, ordered, strict=True))
        raise InputError(
            f"A string stands beside something else, {shown}. Expected a string, or a list of "
            f"strings, for each of {' and '.join(map(repr, names))}."
        )
    return ordered


def _named_element(element, names: tuple[str, ...], optional: Sequence[str]):
    """Returns what a stream yielded, `x` or `(x, ...)`, with its x in the order of the names."""
    # `(x,)`, as two columns alone would be taken for texts and labels.
    whole = list(element) if isinstance(element, tuple) else [element]
    if not whole or not isinstance(whole[0], Mapping):
        return element
    x, *targets = whole
    texts = _in_order(x, tuple(name for name in names if name in x or name not in optional))
    return (texts[0] if len(texts) == 1 else texts, *targets)


class _NamedStream:
    def __init__(self, stream: Stream, names: tuple[str, ...], optional: Sequence[str]):
        self._stream = stream
        self._names = names
        self._optional = optional

    def __iter__(self) -> Iterator:
        for element in self._stream.start():
            yield _named_element(element, self._names, self._optional)


class _NamedPyDataset(keras.utils.PyDataset):
    def __init__(self, dataset: keras.utils.PyDataset, names: tuple[str, ...], optional):
        super().__init__()
        self._dataset = dataset
        self._names = names
        self._optional = optional

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def __getitem__(self, index: int):
        return _named_element(self._dataset[index], self._names, self._optional)

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()
