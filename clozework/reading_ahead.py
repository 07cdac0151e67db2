"""A thread makes what comes next, while the last thing is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")
_END = object()


def read_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yields the items, of which a thread makes the next one meanwhile.

    Tokenizers and compiled programs run outside Python, so that they run at the same time. An
    error comes where the item would have come.

    Example:
    >>> list(read_ahead([1, 2, 3]))
    [1, 2, 3]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="clozework-read-ahead") as thread:
        coming = thread.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, iterator, _END)
            yield item  # type: ignore[misc]
