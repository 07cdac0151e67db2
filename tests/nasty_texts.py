"""Texts on which tokenizers tend to differ: the same ones each time."""

import random
from functools import cache

__all__ = ["SPECIAL_TOKENS", "nasty_texts"]

SPECIAL_TOKENS = (
    *("[MASK]", "[CLS]", "[SEP]", "[UNK]", "[PAD]", "<mask>", "<s>", "</s>", "<pad>", "<unk>"),
)

_WORDS = (
    "the quick brown fox jumps over lazy dogs and runs away internationalization unbelievable "
    "naïve café façade Straße İstanbul ıssız ŒUVRE Ǆ ŉ ſ K Å don't can't we'll THEY'VE I'M 3.14 "
    "1,000,000 50% $9.99 user@example.com https://example.com/a?b=c&d=e #tag C++ a_b x=y e-mail "
    "Москва Ελλάδα ΟΔΥΣΣΕΥΣ שָׁלוֹם العَرَبِيَّة हिन्दी ไทย ภาษาไทย မြန်မာ ខ្មែរ አማርኛ ქართული 日本語 カタカナ "
    "ﾊﾝｶｸ 中文字符 한국어 조선글 Việt Nam ｆｕｌｌｗｉｄｔｈ ＡＢＣ１２３ ﬁnance ﬀ ﬃ ﬆ ﷺ ① Ⅷ ½ ㎏ "
    "㍿ 𝒜𝓁𝑔 𝟘𝟙 ª º ™ … — ‘’ “” «» 、。！？ ▁ ▁▁a Ġ Ġthe ## "
    "##ing <0x41> <0xE2> \ufeff \ufffd \u00ad soft\u00adhyphen zero\u200bwidth a\u200dz \u2060 "
    "<b>html</b> [unused1] {x} \\n `` '' \u202eabc\u202c"
).split(" ")
_EMOJI = (*("😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇫🇷🇯🇵", "❤️", "☎︎", "1️⃣", "🧑🏿‍🚀", "🫠", "🐦‍⬛"),)
_SPACES = (
    *(" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0"),
    *("\u1680", "\u2000", "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f"),
    *("\u3000", " \n ", "\t \t"),
)
# First and last characters of blocks to draw from, the surrogates left out.
_BLOCKS = (
    *((0x00, 0x20), (0x20, 0x7F), (0x7F, 0xA0), (0xA0, 0x250), (0x2B0, 0x370), (0x370, 0x530)),
    *((0x590, 0x780), (0x900, 0xE80), (0x10A0, 0x1200), (0x1100, 0x1200), (0x1E00, 0x2000)),
    *((0x2000, 0x2070), (0x2070, 0x2C00), (0x2E80, 0x3100), (0x3100, 0x3400), (0x3400, 0x4DC0)),
    *((0x4E00, 0xA000), (0xA000, 0xAC00), (0xAC00, 0xD7A4), (0xE000, 0xF900), (0xF900, 0xFB00)),
    *((0xFB00, 0x10000), (0x10000, 0x11000), (0x1D000, 0x1D800), (0x1F000, 0x1FB00)),
    *((0x20000, 0x2A6E0), (0x2F800, 0x2FA20), (0xE0000, 0xE0200), (0xF0000, 0x110000)),
)
_MARKS = [chr(c) for c in (*range(0x300, 0x340), 0x591, 0x5B0, 0x64B, 0x651, 0x93C, 0x94D, 0xFE0F)]


@cache
def nasty_texts(count: int, seed: int = 0) -> list[str]:
    """Returns different texts of all kinds, about 30 characters long, a few of them far longer."""
    source = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[_text(source)] = None
    return list(texts)


def _text(source: random.Random) -> str:
    pieces = (source.choice(_MAKERS)(source) for _ in range(source.randrange(0, 9)))
    if source.random() < 0.5:
        return "".join(pieces)
    return source.choice(("", " ")) + "".join(
        piece + (" " if source.random() < 0.8 else source.choice(_SPACES)) for piece in pieces
    )


def _word(source: random.Random) -> str:
    return source.choice(_WORDS)


def _changed_word(source: random.Random) -> str:
    word = source.choice(_WORDS)
    change = source.choice((str.upper, str.title, str.swapcase, str.casefold))
    place = source.randrange(len(word) + 1)
    return change(word[:place] + source.choice((*_MARKS, "", "'", "-")) + word[place:])


def _letters(source: random.Random) -> str:
    return "".join(source.choices("aaaeeiiooubcdfghlmnprstz", k=source.randrange(1, 12)))


def _run(source: random.Random) -> str:
    # Equal splits: only rounding, or the order of search, decides between them.
    unit = source.choice((*"aehnz019.-=!?*_的ー", "ha", "ab", "lol", "--", "10", "\u0301"))
    return unit * source.randrange(2, 24)


def _characters(source: random.Random) -> str:
    first, last = source.choice(_BLOCKS)
    return "".join(chr(source.randrange(first, last)) for _ in range(source.randrange(1, 6)))


def _marked_letters(source: random.Random) -> str:
    letters = source.choices("aeiouAEIOUnsyαиक가", k=source.randrange(1, 4))
    return "".join(c + "".join(source.choices(_MARKS, k=source.randrange(3))) for c in letters)


def _jamo(source: random.Random) -> str:
    ranges = ((0x1100, 0x1113), (0x1161, 0x1176), (0x11A7, 0x11C3))
    return "".join(chr(source.randrange(*r)) for r in ranges for _ in range(source.randrange(3)))


def _emoji(source: random.Random) -> str:
    return "".join(source.choices(_EMOJI, k=source.randrange(1, 4)))


def _space(source: random.Random) -> str:
    return "".join(source.choices(_SPACES, k=source.randrange(1, 4)))


def _special_token(source: random.Random) -> str:
    token = source.choice(SPECIAL_TOKENS)
    return source.choice((token, token, token.lower(), token[:-1], token + token, f" {token}"))


def _long_word(source: random.Random) -> str:
    length = source.choice((95, 99, 100, 101, 120, 250))
    return "".join(source.choices("abcdefghijklmnopqrstuvwxyzé0", k=length))


_MAKERS = (
    *(_word, _word, _word, _word, _changed_word, _changed_word, _letters, _letters, _run, _run),
    *(_characters, _characters, _characters, _marked_letters, _jamo, _emoji, _space),
    *(_special_token, _special_token),
    # Rare, as they are slow.
    lambda source: _long_word(source) if source.random() < 0.1 else _word(source),
)
