"""Reads pickles without running anything: opcodes are interpreted, names stay names.

The pickle module imports what a file names and calls it. Here a name becomes a `Global`, a call
becomes an entry in a table of constructors that the caller gives, and everything else is refused.
No object of the file gets attributes, no callable is ever looked up.
"""

import mmap
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

__all__ = ["ForbiddenGlobalError", "Global", "read_pickle"]


@dataclass(frozen=True)
class Global:
    """A name in a pickle, such as `torch.FloatStorage`; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class ForbiddenGlobalError(ValueError):
    """A pickle names something that is not on the list."""


_Call = Callable[..., Any]


def read_pickle(
    stream: BytesIO | mmap.mmap,
    *,
    calls: Mapping[Global, _Call],
    names: Callable[[Global], bool],
    persistent: Callable[[Any], Any],
) -> Any:
    """Returns the value of the pickle at the position of `stream`, which stays behind it.

    Arguments:
        stream: where reading never returns more than there is, whatever size is asked for.
        calls: what a call of a name in the pickle stands for; no other call is allowed.
        names: which further names may appear, uncalled.
        persistent: turns a persistent id into a value.

    Raises `ValueError` for everything that is not a well-formed pickle of allowed things.
    """
    machine = _Machine(calls, names, persistent)
    with warnings.catch_warnings():
        # Python warns of escapes in names that no pickler writes.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
                if opcode.name == "STOP":
                    break
                machine.step(opcode.name, argument)
        except DeprecationWarning as error:
            raise ValueError(f"a name is not well-formed: {error}") from error
    return machine.pop()


_MARK = object()
_PUSHED = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    ]
)
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SKIPPED = frozenset({"PROTO", "FRAME"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# A key that is hashed must not itself be nested: hashing deep tuples overflows the C stack.
_KEYS = (str, bytes, int, float, bool, type(None))


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(
        self,
        calls: Mapping[Global, _Call],
        names: Callable[[Global], bool],
        persistent: Callable[[Any], Any],
    ):
        self.calls = calls
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(self._take(_TUPLES[name]))
        elif name not in _SKIPPED:
            action = _ACTIONS.get(name)
            if action is None:
                raise ValueError(f"the pickle operation {name} has no place among weights")
            action(self, argument)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("the pickle takes more from its stack than there is")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"the pickle has no {kind.__name__} where it needs one")
        return self.stack[-1]

    def _take(self, count: int) -> tuple[Any, ...]:
        return tuple([self.pop() for _ in range(count)][::-1])

    def _take_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise ValueError("the pickle has no mark where it needs one")

    def _remember(self, index: int | None) -> None:
        value = self.top(object)
        if value is _MARK:
            raise ValueError("the pickle remembers a mark")
        self.memo[len(self.memo) if index is None else index] = value

    def _recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("the pickle recalls what it never remembered")
        self.stack.append(self.memo[index])

    def _extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def _push_dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            raise ValueError("the pickle sets a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise ValueError(f"the pickle uses a {type(key).__name__} as a key")
            target[key] = value

    def _push_global(self, found: Global) -> None:
        if found not in self.calls and not self.names(found):
            raise ForbiddenGlobalError(str(found))
        self.stack.append(found)

    def _push_stack_global(self) -> None:
        module, name = self._take(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("the pickle names something by other than strings")
        self._push_global(Global(module, name))

    def _call(self) -> None:
        called, arguments = self._take(2)
        if not isinstance(called, Global) or not isinstance(arguments, tuple):
            raise ValueError("the pickle calls something that has no name")
        if called not in self.calls:
            raise ForbiddenGlobalError(str(called))
        try:
            self.stack.append(self.calls[called](*arguments))
        except TypeError as error:
            raise ValueError(f"the pickle calls {called} with wrong arguments") from error


# Opcodes that need more than pushing their argument. BUILD would set attributes: dropped.
_ACTIONS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine._take_to_mark(),
    "PUT": lambda machine, index: machine._remember(index),
    "BINPUT": lambda machine, index: machine._remember(index),
    "LONG_BINPUT": lambda machine, index: machine._remember(index),
    "MEMOIZE": lambda machine, _: machine._remember(None),
    "GET": lambda machine, index: machine._recall(index),
    "BINGET": lambda machine, index: machine._recall(index),
    "LONG_BINGET": lambda machine, index: machine._recall(index),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine._take_to_mark())),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "LIST": lambda machine, _: machine.stack.append(machine._take_to_mark()),
    "APPEND": lambda machine, _: machine._extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine._extend(machine._take_to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "DICT": lambda machine, _: machine._push_dict(machine._take_to_mark()),
    "SETITEM": lambda machine, _: machine._set_items(list(machine._take(2))),
    "SETITEMS": lambda machine, _: machine._set_items(machine._take_to_mark()),
    "GLOBAL": lambda machine, names: machine._push_global(Global(*names.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine._push_stack_global(),
    "REDUCE": lambda machine, _: machine._call(),
    "BUILD": lambda machine, _: machine.pop(),
    "BINPERSID": lambda machine, _: machine.stack.append(machine.persistent(machine.pop())),
}
