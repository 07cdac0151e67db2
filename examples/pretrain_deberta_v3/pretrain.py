"""Pretrain a tiny DeBERTaV3 masked language model from scratch: vocabulary, model, preset.

This made the preset `deberta_v3_tiny_en_demo`. After `python corpus.py --output corpus`:

    KERAS_BACKEND=torch python pretrain.py --corpus corpus --output pretrained --minutes 78

The learning rate falls with the time used, so a run ends trained, whatever the machine. A run that
was interrupted goes on with `--resume`. The shipped weights had a second, short phase, in which the
Bible's first verses come often enough to be known by heart:

    KERAS_BACKEND=torch python pretrain.py --corpus corpus --output pretrained --resume \\
        --minutes 11 --learning-rate 6e-4 --opening-repeats 100
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import sentencepiece
from halves import HalvedDebertaV3MaskedLM
from rows import TrainingRows, fixed_rows

from clozework.models import (
    DebertaV3Backbone,
    DebertaV3MaskedLM,
    DebertaV3MaskedLMPreprocessor,
    DebertaV3Tokenizer,
)
from clozework.presets import staged_directory, stored_values, write_h5

VOCABULARY_SIZE = 8000
ARCHITECTURE = {
    "num_layers": 3,
    "num_heads": 4,
    "hidden_dim": 256,
    "intermediate_dim": 1024,
    "dropout": 0.0,
    "max_sequence_length": 128,
    "bucket_size": 32,
}
# How often a source is read for once the others: the Bible is small, and worth remembering.
REPEATS = {"bible": 3}
OPENING_VERSES = 31  # the first chapter, or nearly: some verses are held out
WARMUP_STEPS = 300
STEPS_PER_REPORT = 500
SECONDS_PER_CHECKPOINT = 480


def read_lines(path):
    """Returns the lines of a file of `corpus.py` as a list for each source."""
    lines = {}
    for row in path.read_text(encoding="utf-8").splitlines():
        source, line = row.split("\t", 1)
        lines.setdefault(source, []).append(line)
    return lines


def train_vocabulary(lines, path):
    """Trains a SentencePiece vocabulary with DeBERTaV3's special tokens into the file `path`.

    `[MASK]` is a control symbol: it has an id, and no text can contain it by chance.
    """
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for part in lines.values() for line in part),
            model_writer=file,
            vocab_size=VOCABULARY_SIZE,
            model_type="unigram",
            character_coverage=0.9998,
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=8192,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            pad_piece="[PAD]",
            bos_piece="[CLS]",
            eos_piece="[SEP]",
            unk_piece="[UNK]",
            control_symbols=["[MASK]"],
        )


def encode(lines, tokenizer):
    """Returns the ids of every line, as arrays."""
    return {
        source: [np.array(ids, "int32") for ids in tokenizer.tokenize(part)]
        for source, part in lines.items()
    }


class TimeBudget(keras.callbacks.Callback):
    """Warms the learning rate up, lets it fall to zero over `minutes`, then stops.

    Reports each span of steps, and saves the weights now and then, by renaming a finished file.
    """

    def __init__(self, learning_rate, minutes, checkpoint, *, minutes_used=0.0):
        super().__init__()
        self.learning_rate = learning_rate
        self.seconds = 60 * minutes
        self.seconds_used = 60 * minutes_used
        self.checkpoint = checkpoint

    def on_train_begin(self, logs=None):
        self.saved = time.monotonic()
        self.start = self.saved - self.seconds_used
        self.steps = int(self.model.optimizer.iterations)

    def on_train_batch_begin(self, batch, logs=None):
        self.steps += 1
        share_left = 1 - (time.monotonic() - self.start) / self.seconds
        share = max(0.0, min(self.steps / WARMUP_STEPS, share_left))
        self.model.optimizer.learning_rate = self.learning_rate * share

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if now - self.saved > SECONDS_PER_CHECKPOINT:
            self.saved = now
            self.save()
        if now - self.start > self.seconds:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        values = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        minutes = (time.monotonic() - self.start) / 60
        print(f"step {self.steps}, {minutes:.1f} minutes: {values}", flush=True)

    def save(self):
        unfinished = self.checkpoint.with_name("unfinished.weights.h5")
        self.model.save_weights(unfinished)
        unfinished.replace(self.checkpoint)


def new_masked_lm(tokenizer):
    """Returns the model with random weights, compiled for training."""
    masked_lm = HalvedDebertaV3MaskedLM(
        DebertaV3Backbone(vocabulary_size=tokenizer.vocabulary_size(), **ARCHITECTURE),
        preprocessor=None,
    )
    # `TimeBudget` sets the learning rate.
    optimizer = keras.optimizers.AdamW(weight_decay=0.01, beta_2=0.98, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    masked_lm.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return masked_lm


def save_preset(masked_lm, tokenizer, directory):
    """Saves the model with its preprocessing as a float32 preset with float16 files."""
    backbone = DebertaV3Backbone(vocabulary_size=tokenizer.vocabulary_size(), **ARCHITECTURE)
    preprocessor = DebertaV3MaskedLMPreprocessor(
        tokenizer, sequence_length=ARCHITECTURE["max_sequence_length"]
    )
    plain = DebertaV3MaskedLM(backbone, preprocessor=preprocessor)
    plain.set_weights(masked_lm.get_weights())
    plain.save_to_preset(directory)
    with staged_directory(directory, replaces=["*.weights.h5"]) as staged:
        for name, part, skip in (
            ("model.weights.h5", backbone, ()),
            ("task.weights.h5", plain, (backbone,)),
        ):
            values, names = stored_values(part, skip=skip)
            halved = {path: value.astype("float16") for path, value in values.items()}
            write_h5(staged, name, halved, names)


def main(arguments):
    keras.utils.set_random_seed(0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.output / "checkpoint.weights.h5"
    vocabulary = arguments.output / "vocabulary.spm"
    lines = read_lines(arguments.corpus / "train.txt")
    if not arguments.resume:
        train_vocabulary(lines, vocabulary)
    if arguments.opening_repeats:
        lines["opening"] = lines["bible"][:OPENING_VERSES]
    tokenizer = DebertaV3Tokenizer(proto=str(vocabulary))
    # Products in bfloat16, weights in float32: twice as fast where the processor can.
    keras.config.set_dtype_policy("mixed_bfloat16")
    masked_lm = new_masked_lm(tokenizer)
    if arguments.resume:
        masked_lm.optimizer.build(masked_lm.trainable_variables)
        masked_lm.load_weights(checkpoint)
    steps_before = int(masked_lm.optimizer.iterations)
    rows = TrainingRows(
        encode(lines, tokenizer),
        REPEATS | {"opening": arguments.opening_repeats},
        tokenizer,
        steps=STEPS_PER_REPORT,
        seed=steps_before,
    )
    held_out = encode(read_lines(arguments.corpus / "heldout.txt"), tokenizer)
    budget = TimeBudget(
        arguments.learning_rate,
        arguments.minutes,
        checkpoint,
        minutes_used=arguments.minutes_used,
    )
    masked_lm.fit(
        rows,
        epochs=1_000_000,
        validation_data=fixed_rows(held_out, tokenizer),
        callbacks=[budget],
        verbose=0,
    )
    budget.save()
    keras.config.set_dtype_policy("float32")
    save_preset(masked_lm, tokenizer, arguments.output / "preset")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("corpus"), help="made by corpus.py")
    parser.add_argument("--output", type=Path, default=Path("pretrained"))
    parser.add_argument("--minutes", type=float, default=78.0, help="time to train, in all")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest")
    parser.add_argument(
        "--opening-repeats", type=int, default=0, help="times the first verses are read in addition"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--minutes-used", type=float, default=0.0, help="of `--minutes`, before the checkpoint"
    )
    main(parser.parse_args())
