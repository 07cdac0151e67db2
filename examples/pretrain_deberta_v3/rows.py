"""Training rows: texts packed densely, masked anew every time they are read."""

import keras
import numpy as np

ROW_SHAPES = ((48, 64), (24, 128))  # (batch, tokens); the same number of tokens in each batch
LONG_ROWS_EVERY = 4
MASKED_SHARE = 0.2
OPEN_ROWS = 24


def group_lines(lines, max_tokens, rng):
    """Returns texts of at most `max_tokens` ids: single lines, and runs of neighbouring lines.

    Half of the texts are one line, as users will type them; the others are filled with the lines
    that follow up to a random length, so that the model also sees sentences in their context.
    """
    texts, i = [], 0
    while i < len(lines):
        text, i = [lines[i]], i + 1
        length = len(text[0])
        if length > max_tokens:
            start = rng.integers(0, length - max_tokens + 1)
            text = [text[0][start : start + max_tokens]]
        elif rng.random() < 0.5:
            target = rng.integers(16, max_tokens + 1)
            while i < len(lines) and length < target and length + len(lines[i]) <= max_tokens:
                text.append(lines[i])
                length += len(lines[i])
                i += 1
        texts.append(np.concatenate(text))
    return texts


def pack(texts, tokens, tokenizer, rng):
    """Returns `(token_ids, padding_mask)`: whole texts side by side in rows of `tokens`.

    The padding mask numbers the texts of a row 1, 2, 3, ..., so each is encoded as if alone.
    """
    closed, open_rows = [], []
    for index in rng.permutation(len(texts)):
        size = len(texts[index]) + 2
        fitting = [row for row in open_rows if row[0] >= size]
        row = min(fitting, key=lambda row: row[0], default=None)
        if row is None:
            if len(open_rows) == OPEN_ROWS:
                fullest = min(open_rows, key=lambda row: row[0])
                open_rows.remove(fullest)
                closed.append(fullest[1])
            row = [tokens, []]
            open_rows.append(row)
        row[0] -= size
        row[1].append(texts[index])
    closed += [row[1] for row in open_rows]
    token_ids = np.full((len(closed), tokens), tokenizer.pad_token_id, "int32")
    padding_mask = np.zeros_like(token_ids)
    for i, row in enumerate(closed):
        start = 0
        for number, text in enumerate(row, start=1):
            end = start + len(text) + 2
            token_ids[i, start:end] = [tokenizer.start_token_id, *text, tokenizer.end_token_id]
            padding_mask[i, start:end] = number
            start = end
    order = rng.permutation(len(closed))
    return token_ids[order], padding_mask[order]


def mask(token_ids, padding_mask, tokenizer, rng):
    """Returns `(inputs, labels, label_weights)` for `MaskedLM.fit` without a preprocessor.

    A fifth of each row's places is chosen. Of these 80 % become the mask token, 10 % a random
    token, 10 % stay (Devlin et al., 2018).
    """
    num_masks = round(MASKED_SHARE * token_ids.shape[1])
    special = [tokenizer.pad_token_id, tokenizer.start_token_id, tokenizer.end_token_id]
    scores = np.where(np.isin(token_ids, special), 2.0, rng.random(token_ids.shape))
    positions = np.sort(np.argpartition(scores, num_masks, axis=1)[:, :num_masks], axis=1)
    labels = np.take_along_axis(token_ids, positions, axis=1)
    weights = (np.take_along_axis(scores, positions, axis=1) < 2.0).astype("float32")
    kind = rng.random(labels.shape)
    random_tokens = rng.integers(
        tokenizer.mask_token_id + 1, tokenizer.vocabulary_size(), labels.shape
    )
    shown = np.where(kind < 0.8, tokenizer.mask_token_id, random_tokens)
    shown = np.where((kind < 0.9) & (weights > 0), shown, labels)
    masked_ids = token_ids.copy()
    np.put_along_axis(masked_ids, positions, shown.astype("int32"), axis=1)
    inputs = {
        "token_ids": masked_ids,
        "padding_mask": padding_mask,
        "mask_positions": positions.astype("int32"),
    }
    return inputs, labels, weights


class TrainingRows(keras.utils.PyDataset):
    """Endless training batches, cut into spans of `steps` batches that `fit` calls epochs.

    Args:
        lines: A list of arrays of ids for each source, in reading order.
        repeats: How often a source is read each time through; 1 where it is not named.
        tokenizer: Gives the special tokens.
        steps: Batches in a span.
        seed: Of grouping, packing and masking.
    """

    def __init__(self, lines, repeats, tokenizer, *, steps, seed):
        super().__init__()
        self.lines = lines
        self.repeats = repeats
        self.tokenizer = tokenizer
        self.steps = steps
        self.rng = np.random.default_rng(seed)
        self.streams = [self._stream(*shape) for shape in ROW_SHAPES]

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        short, long = self.streams
        token_ids, padding_mask = next(long if index % LONG_ROWS_EVERY == 0 else short)
        return mask(token_ids, padding_mask, self.tokenizer, self.rng)

    def _stream(self, batch, tokens):
        while True:
            texts = []
            for source, lines in self.lines.items():
                for _ in range(self.repeats.get(source, 1)):
                    texts += group_lines(lines, tokens - 2, self.rng)
            token_ids, padding_mask = pack(texts, tokens, self.tokenizer, self.rng)
            for start in range(0, len(token_ids) - batch + 1, batch):
                yield token_ids[start : start + batch], padding_mask[start : start + batch]


def fixed_rows(lines, tokenizer):
    """Returns one `(inputs, labels, label_weights)` for `fit` to validate on, always the same."""
    rng = np.random.default_rng(0)
    tokens = ROW_SHAPES[-1][1]
    texts = [text for part in lines.values() for text in group_lines(part, tokens - 2, rng)]
    return mask(*pack(texts, tokens, tokenizer, rng), tokenizer, rng)
