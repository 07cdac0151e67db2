"""Texts that are measured: lengths as in practice, and always the same."""

import numpy as np
import pytest

from benchmarks.texts import cut_texts, texts_of_usual_length

WORDS = [f"word{i}" for i in range(5000)]


def test_lengths_are_lognormal_within_their_bounds():
    lengths = [len(text.split()) for text in texts_of_usual_length(WORDS, 1000)]
    assert np.median(lengths) == pytest.approx(30, abs=3)
    assert (min(lengths), max(lengths)) == (3, 380)


def test_texts_are_successive_words_and_begin_anew_at_the_end():
    texts = cut_texts(WORDS[:10], 4, median=4, sigma=0.0, shortest=1, longest=9)
    assert texts == [
        "word0 word1 word2 word3",
        "word4 word5 word6 word7",
        "word0 word1 word2 word3",
        "word4 word5 word6 word7",
    ]


def test_fewer_texts_are_the_first_of_more():
    assert texts_of_usual_length(WORDS, 8) == texts_of_usual_length(WORDS, 100)[:8]
