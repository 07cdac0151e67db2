"""Count how often the model, and two simple baselines, find a masked token of held-out text.

    python evaluate.py --corpus corpus --preset deberta_v3_tiny_en_demo

Fifteen per cent of the tokens of each held-out line are hidden, all by the mask token, with a fixed
seed. The unigram baseline always gives the most frequent tokens. The trigram baseline gives the
tokens that most often followed the two tokens before, which it sees even where they are masked for
the model; where it knows too few it goes on with those that followed the one token before, then
with the most frequent ones. Both count in the text that the model was trained on.
"""

import argparse
from pathlib import Path

import numpy as np
from pretrain import encode, read_lines

from clozework.models import DebertaV3MaskedLM

MASKED_SHARE = 0.15
MAX_TOKENS = 126
TOP = 5


class NGrams:
    """How often each token followed each context of `order - 1` tokens.

    Args:
        lines: Arrays of ids; each is read as preceded by start tokens.
    """

    def __init__(self, lines, order, tokenizer):
        self.size = tokenizer.vocabulary_size()
        start = [tokenizer.start_token_id] * (order - 1)
        stream = np.concatenate([[*start, *line] for line in lines]).astype("int64")
        codes = stream[order - 1 :].copy()
        for back in range(1, order):
            codes += stream[order - 1 - back : len(stream) - back] * self.size**back
        is_token = stream[order - 1 :] != tokenizer.start_token_id
        self.codes, self.counts = np.unique(codes[is_token], return_counts=True)

    def most_frequent(self, context):
        """Returns up to `TOP` tokens that followed `context`, most frequent first."""
        context_code = 0
        for token in context:
            context_code = context_code * self.size + int(token)
        first, last = np.searchsorted(
            self.codes, [context_code * self.size, (context_code + 1) * self.size]
        )
        best = np.argsort(-self.counts[first:last], kind="stable")[:TOP]
        return (self.codes[first:last][best] % self.size).tolist()


class BackedOff:
    """Candidates of the longest context first, then of shorter ones."""

    def __init__(self, lines, order, tokenizer):
        self.start = [tokenizer.start_token_id] * (order - 1)
        self.models = [NGrams(lines, n, tokenizer) for n in range(order, 0, -1)]

    def candidates(self, line, position):
        history = [*self.start, *line[:position]]
        found = {}
        for n, model in zip(range(len(self.models), 0, -1), self.models, strict=True):
            found |= dict.fromkeys(model.most_frequent(history[len(history) - n + 1 :]))
        return list(found)[:TOP]


def choose_masks(lines, seed=0):
    """Returns the sorted positions to hide in each line, at least one."""
    rng = np.random.default_rng(seed)
    return [
        np.sort(rng.permutation(len(line))[: max(1, round(MASKED_SHARE * len(line)))])
        for line in lines
    ]


def model_candidates(masked_lm, tokenizer, lines, masks, batch=32):
    """Yields the `TOP` best tokens of each masked position, line by line."""
    for first in range(0, len(lines), batch):
        part, part_masks = lines[first : first + batch], masks[first : first + batch]
        token_ids = np.full((batch, MAX_TOKENS + 2), tokenizer.pad_token_id, "int32")
        padding_mask = np.zeros_like(token_ids)
        positions = np.zeros((batch, round(MASKED_SHARE * MAX_TOKENS)), "int32")
        for i, (line, mask) in enumerate(zip(part, part_masks, strict=True)):
            row = line.copy()
            row[mask] = tokenizer.mask_token_id
            row = [tokenizer.start_token_id, *row, tokenizer.end_token_id]
            token_ids[i, : len(row)] = row
            padding_mask[i, : len(row)] = 1
            positions[i, : len(mask)] = mask + 1
        logits = masked_lm.predict_on_batch(
            {"token_ids": token_ids, "padding_mask": padding_mask, "mask_positions": positions}
        )
        for i, mask in enumerate(part_masks):
            best = np.argsort(-np.asarray(logits[i, : len(mask)], "float32"), axis=-1)[:, :TOP]
            yield from best.tolist()


def accuracies(candidates, answers):
    """Returns the shares of answers that are the first candidate, and among the first five."""
    candidates = list(candidates)
    first = np.mean([found[0] == answer for found, answer in zip(candidates, answers, strict=True)])
    among = np.mean([answer in found for found, answer in zip(candidates, answers, strict=True)])
    return float(first), float(among)


def main(arguments):
    masked_lm = DebertaV3MaskedLM.from_preset(arguments.preset, dtype="float32")
    tokenizer = masked_lm.preprocessor.tokenizer
    masked_lm.preprocessor = None
    training = encode(read_lines(arguments.corpus / "train.txt"), tokenizer)
    training_lines = [line for part in training.values() for line in part]
    baselines = {
        "unigram": BackedOff(training_lines, 1, tokenizer),
        "trigram": BackedOff(training_lines, 3, tokenizer),
    }
    held_out = encode(read_lines(arguments.corpus / "heldout.txt"), tokenizer)
    held_out = {source: [line[:MAX_TOKENS] for line in part] for source, part in held_out.items()}
    print("| text | masks | | top 1 | top 5 |\n|---|---|---|---|---|")
    everything = [line for part in held_out.values() for line in part]
    for source, lines in {**held_out, "all": everything}.items():
        masks = choose_masks(lines)
        answers = [int(line[i]) for line, mask in zip(lines, masks, strict=True) for i in mask]
        places = [(line, i) for line, mask in zip(lines, masks, strict=True) for i in mask]
        rows = {
            name: accuracies((baseline.candidates(*place) for place in places), answers)
            for name, baseline in baselines.items()
        }
        found = model_candidates(masked_lm, tokenizer, lines, masks)
        rows["this model"] = accuracies(found, answers)
        for name, (first, among) in rows.items():
            print(f"| {source} | {len(answers)} | {name} | {first:.1%} | {among:.1%} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("corpus"), help="made by corpus.py")
    parser.add_argument("--preset", default="deberta_v3_tiny_en_demo")
    main(parser.parse_args())
