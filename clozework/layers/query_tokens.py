"""Blocks that compute the vectors of some tokens alone, such as those that a head reads."""

import contextlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from keras import ops

from clozework.errors import ConfigError
from clozework.layers.text_masks import attention_mask_between
from clozework.layers.transformer_block import TransformerBlock
from clozework.traced_layers import traced_alone

__all__ = ["ALL_TOKENS", "QueryTokens", "query_tokens", "query_tokens_of"]


@dataclass(frozen=True)
class QueryTokens:
    """The tokens whose vectors a block computes; each attends to all tokens of its group.

    Attributes:
        positions: int32 `(groups, queries)`, counted through all rows. The first group has the
            first rows, as many as each of the others. None for all tokens, each row a group.
    """

    positions: Any = None

    def grouped(self, x):
        """Returns values of tokens `(rows, tokens, ...)` as `(groups, tokens, ...)`."""
        # A number of groups that is not known is that of the rows.
        if self.positions is None or self.positions.shape[0] == x.shape[0]:
            return x
        return ops.reshape(x, (self.positions.shape[0], -1, *x.shape[2:]))

    def taken(self, x):
        """Returns the queries' part of values of tokens, `(groups, queries, ...)`."""
        if self.positions is None:
            return x
        return ops.take(ops.reshape(x, (-1, *x.shape[2:])), self.positions, axis=0)

    def attention_mask(self, padding_mask):
        """Returns which tokens of their group queries may attend to; None without a padding mask.

        Booleans `(groups, queries, tokens)`. A group of several rows needs a mask that tells all
        their texts apart.
        """
        if padding_mask is None:
            return None
        return attention_mask_between(self.taken(padding_mask), self.grouped(padding_mask))

    def places(self, num_tokens: int):
        """Returns where queries stand in their groups of so many tokens, `(groups, queries)`."""
        positions = ops.cast(self.positions, "int32")
        # Counted along the axis, whose length need not be known.
        groups = ops.cumsum(ops.ones_like(positions[:, :1]), axis=0) - 1
        return positions - num_tokens * groups


ALL_TOKENS = QueryTokens()

# Identity of a block -> the tokens that it computes.
_QUERIES: ContextVar[Mapping[int, QueryTokens] | None] = ContextVar("query tokens", default=None)


@contextlib.contextmanager
def query_tokens(block, positions):
    """Within it, a block of an encoder gives the vectors of some tokens alone.

    For the last block of a model, whose outputs no other block needs. No `attention_mask` goes to
    the block.

    Args:
        block: A `TransformerEncoder`, `DisentangledAttentionEncoder` or `BiasedTransformerEncoder`.
        positions: int32 `(groups, queries)`; see `QueryTokens`. The block's outputs are
            `(groups, queries, hidden_dim)`.

    Raises:
        ConfigError: If it is another kind of block, which would compute all tokens.

    Example:
    >>> from clozework.layers import TransformerEncoder
    >>> block = TransformerEncoder(intermediate_dim=16, num_heads=2)
    >>> with query_tokens(block, np.array([[0], [5]])):
    ...     outputs = block(np.zeros((2, 5, 8)))
    >>> outputs.shape
    (2, 1, 8)
    """
    if not (isinstance(block, TransformerBlock) and block.has_query_tokens):
        raise ConfigError(
            f"A {type(block).__name__} computes all tokens. `query_tokens` is for "
            f"TransformerEncoder, DisentangledAttentionEncoder, BiasedTransformerEncoder."
        )
    token = _QUERIES.set({**(_QUERIES.get() or {}), id(block): QueryTokens(positions)})
    try:
        with traced_alone(block):
            yield
    finally:
        _QUERIES.reset(token)


def query_tokens_of(block) -> QueryTokens:
    """Returns the tokens that a block is to compute: all of them, outside of `query_tokens`."""
    return (_QUERIES.get() or {}).get(id(block), ALL_TOKENS)
