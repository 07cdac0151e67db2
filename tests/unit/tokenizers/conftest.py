"""What several tests of tokenizers read."""

import lzma
from importlib import resources

import pytest


@pytest.fixture(scope="session")
def default_charsmap():
    """SentencePiece's default map of characters, nmt_nfkc."""
    stored = resources.files("clozework.tokenizers").joinpath("nmt_nfkc.charsmap.xz")
    return lzma.decompress(stored.read_bytes())
