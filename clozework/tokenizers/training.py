"""Making vocabularies from text."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import pre_tokenizers

from clozework.errors import ConfigError, MissingPackageError
from clozework.tokenizers.texts import check_texts
from clozework.tokenizers.word_piece import bert_normalizer
from clozework.tokenizers.word_piece_learner import learn_word_pieces

__all__ = ["compute_sentence_piece_proto", "compute_word_piece_vocabulary"]

_MODEL_TYPES = ("unigram", "bpe", "word", "char")


def compute_word_piece_vocabulary(
    data,
    vocabulary_size,
    vocabulary_output_file=None,
    lowercase=False,
    strip_accents=False,
    split=True,
    split_on_cjk=True,
    suffix_indicator="##",
    reserved_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],  # noqa: B006 (KerasHub's)
):
    """Returns a WordPiece vocabulary learned from text: the same one each time.

    Args:
        data: Texts as any iterable of strings, or a list of the paths of text files: a list of
            strings counts as paths if files of all these names exist.
        vocabulary_size: The most tokens wanted.
        vocabulary_output_file: A file to write the tokens to, one a line, instead of returning.
        lowercase, strip_accents, split, split_on_cjk: As in `WordPieceTokenizer`; with
            `split=False`, the data are words, or lists of them.
        suffix_indicator: What pieces inside a word begin with.
        reserved_tokens: Tokens that have to be in the vocabulary; they come first.

    Example:
    >>> compute_word_piece_vocabulary(["bat sat pat mat rat"], 13)[5:]
    ['a', 'b', 'm', 'p', 'r', 's', 't', '##at']
    """
    normalizer = bert_normalizer(
        lowercase=lowercase,
        strip_accents=strip_accents or lowercase,
        split=split,
        split_on_cjk=split_on_cjk,
    )
    splitter = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in _texts(data):
        normalized = normalizer.normalize_str(text)
        if split:
            counts.update(word for word, _ in splitter.pre_tokenize_str(normalized))
        else:
            counts[normalized] += 1
    vocabulary = learn_word_pieces(
        counts,
        vocabulary_size,
        reserved_tokens=list(reserved_tokens),
        suffix_indicator=suffix_indicator,
    )
    if vocabulary_output_file is None:
        return vocabulary
    lines = "".join(f"{token}\n" for token in vocabulary)
    Path(vocabulary_output_file).write_text(lines, encoding="utf-8", newline="\n")
    return None


def compute_sentence_piece_proto(
    data,
    vocabulary_size,
    model_type="unigram",
    proto_output_file=None,
    lowercase=False,
):
    """Returns a SentencePiece model trained on text, as bytes: the same one each time.

    Needs the `sentencepiece` package, which only training does.

    Args:
        data: As in `compute_word_piece_vocabulary`.
        vocabulary_size: The number of pieces.
        model_type: `"unigram"`, `"bpe"`, `"word"` or `"char"`.
        proto_output_file: A file to write the model to, instead of returning it.
        lowercase: Whether the model lowercases text.

    Example:
    >>> from clozework.tokenizers import SentencePieceTokenizer
    >>> proto = compute_sentence_piece_proto(["the quick brown fox"] * 9, 21)
    >>> SentencePieceTokenizer(proto).vocabulary_size()
    21
    """
    if model_type not in _MODEL_TYPES:
        raise ConfigError(
            f"model_type must be one of {', '.join(map(repr, _MODEL_TYPES))}, got {model_type!r}."
        )
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingPackageError(
            "Training a SentencePiece model needs the package sentencepiece: "
            'pip install "clozework[sentencepiece]".'
        ) from error
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_texts(data),
            model_writer=written,
            vocab_size=vocabulary_size,
            model_type=model_type,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"SentencePiece cannot train {vocabulary_size} pieces of type {model_type!r} on these "
            f"data: {error}"
        ) from error
    if proto_output_file is None:
        return written.getvalue()
    Path(proto_output_file).write_bytes(written.getvalue())
    return None


def _texts(data) -> Iterator[str]:
    """Yields the texts in the data, those in files line by line."""
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise ConfigError(
            "data must be an iterable of texts or a list of paths, got "
            f"{type(data).__name__}. Put a single text or path in a list."
        )
    if isinstance(data, (list, tuple)) and _are_paths(data):
        for path in data:
            with Path(path).open(encoding="utf-8") as file:
                for line in file:
                    yield line.rstrip("\n")
        return
    for element in data:
        yield from check_texts(_strings(element))


def _are_paths(data) -> bool:
    """Says whether the data are names of files rather than texts; refuses a mixture."""
    are_paths = [
        isinstance(element, os.PathLike)
        # Path.is_file() fails on a text that is too long for a path.
        or (isinstance(element, str) and os.path.isfile(element))  # noqa: PTH113
        for element in data
    ]
    if any(are_paths) and not all(are_paths):
        missing = data[are_paths.index(False)]
        raise ConfigError(
            f"Some of the data are files, but {missing!r:.60} is none. Pass either paths of "
            "existing files or texts."
        )
    return bool(data) and all(are_paths)


def _strings(element) -> list[str]:
    """Returns the strings in an element of a dataset: one, a list, an array or a tensor of them."""
    if isinstance(element, str):
        return [element]
    flat = np.asarray(element).reshape(-1).tolist()
    return [part.decode("utf-8") if isinstance(part, bytes) else part for part in flat]
