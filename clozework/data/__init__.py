"""What a user hands to `fit`, `evaluate` or `predict` -> examples -> batches.

    x, y, sample_weight ──> columns, texts, arrays   one collection: lists, NumPy, pandas, ...
                       └──> streams                  one after another: generators, loaders, ...
                                 └──> batches        what Keras iterates over

An *example* is one text (`str`) or several that belong together (a tuple of `str`: a pair).
Nothing here knows a model or a tokenizer: a `preprocess` function handed in by the caller turns
the examples of a batch into arrays. Where `is_text` is False, x is already arrays.

What counts as what:

* A list, array or column holds examples. A list whose items are lists or tuples holds pairs,
  a tuple of columns holds the first texts, the second texts, and so on, as in KerasHub.
* A stream (generator, loader, dataset) yields examples or batches, by Keras's convention as x,
  `(x, y)` or `(x, y, sample_weight)`. In x a string is an example, a tuple of strings a pair,
  a list or an array a batch. `("text", "label")` is therefore a text with its label; a pair
  of texts without a label is `(("first", "second"),)`.
* Where the texts of an example have names, a dict or a row with these names is a pair.
"""

from clozework.data.batches import Batches, CollectionBatches, StreamBatches, quiet_end_of_stream
from clozework.data.making import make_dataset
from clozework.data.named import named_texts
from clozework.data.packed_batches import plan_batch
from clozework.data.packed_rows import FIRST_TOKENS, SHORTEST_TEXT, PackedRows, plan_steps
from clozework.data.splitting import split_validation
from clozework.data.streams import open_stream

__all__ = [
    "FIRST_TOKENS",
    "SHORTEST_TEXT",
    "Batches",
    "CollectionBatches",
    "PackedRows",
    "StreamBatches",
    "make_dataset",
    "named_texts",
    "open_stream",
    "plan_batch",
    "plan_steps",
    "quiet_end_of_stream",
    "split_validation",
]
