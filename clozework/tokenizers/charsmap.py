"""The precompiled map of characters in SentencePiece models: which text is replaced, by what.

The map is a Darts double-array trie over UTF-8 (https://github.com/s-yata/darts-clone), whose
values point into a block of zero-terminated strings. It is walked as it is: the usual one
(`nmt_nfkc`) has 59,000 nodes, but 224,000 rules, most of them for Korean syllables.
"""

import functools

import numpy as np

from clozework.errors import PresetError

__all__ = ["Charsmap", "read_charsmap"]

_LABEL = 0x800000FF
_VALUE = 0x7FFFFFFF
_HAS_LEAF = 0x100
# The most characters of the text that a rule may replace.
_LONGEST_RULE = 32


class Charsmap:
    """The rules of one map.

    Args:
        data: The map as stored; empty for a map without rules.

    Attributes:
        singles: Characters that are replaced by themselves.
        firsts: Characters that are replaced together with the one behind them.
        seconds: Characters that come second in what is replaced.
        has_double_spaces: Whether a replacement holds two spaces in a row.
    """

    def __init__(self, data: bytes):
        trie_size = int.from_bytes(data[:4], "little")
        if data and (len(data) < 8 or not trie_size or trie_size % 4 or 4 + trie_size > len(data)):
            raise PresetError("The map of characters in the SentencePiece model is damaged.")
        units = np.frombuffer(data, dtype="<u4", count=trie_size // 4, offset=4 if data else 0)
        self._strings = data[4 + trie_size :]
        self._units = units.tolist()
        self.has_double_spaces = b"  " in self._strings
        units = units.astype("int64")
        root = (_offset(units[:1]),) if data else (units,)
        characters, leaves, nodes = _characters_after(units, *root)
        self.singles = {c for c, is_leaf in zip(characters, leaves, strict=True) if is_leaf}
        self.firsts, self.seconds = set(), set()
        if data:
            # Many characters lead to the same node.
            unique, which = np.unique(nodes, return_inverse=True)
            seconds, _, _, parents = _characters_after(units, unique, with_parents=True)
            has_second = np.isin(which, parents)
            self.firsts = {c for c, has in zip(characters, has_second, strict=True) if has}
            self.seconds = set(seconds)

    def longest_match(self, text: str, start: int) -> tuple[int, str] | None:
        """Returns how many characters from `start` on the longest rule replaces, and by what."""
        if not self._units:
            return None
        units = self._units
        encoded = text[start : start + _LONGEST_RULE].encode("utf-8")
        node = _offset(units[0])
        length = value = 0
        for i, byte in enumerate(encoded, 1):
            node ^= byte
            if node >= len(units) or units[node] & _LABEL != byte:
                break
            unit = units[node]
            node ^= _offset(unit)
            if unit & _HAS_LEAF and node < len(units):
                length, value = i, units[node] & _VALUE
        if not length:
            return None
        end = self._strings.find(b"\0", value)
        try:
            return len(encoded[:length].decode("utf-8")), self._strings[value:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise PresetError(
                "The map of characters in the SentencePiece model is damaged: it replaces or makes "
                f"half a character ({error})."
            ) from error


@functools.lru_cache(maxsize=8)
def read_charsmap(data: bytes) -> Charsmap:
    """Returns the rules in a stored map; many models have the same."""
    return Charsmap(data)


def _offset(unit):
    """Returns the distance to a node's children; for one unit or an array of them."""
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _characters_after(units: np.ndarray, nodes: np.ndarray, *, with_parents: bool = False):
    """Returns the characters that lead on from nodes, whether each ends a rule, and the next nodes.

    Args:
        units: All units of the trie.
        nodes: Where to start from: the offsets of the nodes' children.
        with_parents: Whether to return the index of the node each starts from as well.
    """
    labels = np.arange(1, 256)
    parents = np.arange(len(nodes))
    encoded = np.zeros((len(nodes), 0), dtype="uint8")
    complete = []
    for _ in range(4):
        children = nodes[:, None] ^ labels
        is_inside = children < len(units)
        children = np.where(is_inside, children, 0)
        is_child = is_inside & ((units[children] & _LABEL) == labels) if len(units) else is_inside
        rows, columns = np.nonzero(is_child)
        found = units[children[rows, columns]]
        nodes = children[rows, columns] ^ _offset(found)
        parents = parents[rows]
        encoded = np.column_stack((encoded[rows], labels[columns].astype("uint8")))
        is_complete = encoded.shape[1] == _character_length(encoded[:, 0])
        complete.append(
            (
                [bytes(row).decode("utf-8", "replace") for row in encoded[is_complete]],
                (found[is_complete] & _HAS_LEAF) > 0,
                nodes[is_complete],
                parents[is_complete],
            )
        )
        nodes, parents, encoded = nodes[~is_complete], parents[~is_complete], encoded[~is_complete]
    characters = [character for part in complete for character in part[0]]
    joined = [np.concatenate([part[i] for part in complete]) for i in (1, 2, 3)]
    return (characters, *joined) if with_parents else (characters, *joined[:2])


def _character_length(first_bytes: np.ndarray) -> np.ndarray:
    """Returns how many bytes UTF-8 needs for the characters that start with these."""
    return np.searchsorted([0xC0, 0xE0, 0xF0], first_bytes, side="right") + 1
