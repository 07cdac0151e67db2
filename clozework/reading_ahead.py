"""Threads make what comes next, while the last thing is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_ahead", "read_ahead"]

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")
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


def map_ahead(
    function: Callable[[_Item], _Value], items: Iterable[_Item], *, num_threads: int
) -> Iterator[_Value]:
    """Yields what a function makes of each item, in their order, while threads make the next ones.

    While a value is used, as many as there are threads are being made, or wait. An error comes
    where the value would have come.

    Example:
    >>> list(map_ahead(str, [1, 2, 3], num_threads=2))
    ['1', '2', '3']
    """
    with ThreadPoolExecutor(num_threads, thread_name_prefix="clozework-map-ahead") as threads:
        coming: deque[Future[_Value]] = deque()
        for item in items:
            coming.append(threads.submit(function, item))
            if len(coming) > num_threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
