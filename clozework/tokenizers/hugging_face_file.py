"""Hugging Face's `tokenizer.json`: what in it are arguments of our tokenizers, and back.

A file whose steps are not those that the tokenizer here takes is refused: reading it as if they
were would give other ids than it does.
"""

import base64
import functools
import json
import lzma
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from clozework.errors import PresetError
from clozework.tokenizers.assets import read_text
from clozework.tokenizers.piece_model import ModelType, PieceModel, PieceType, single_precision

__all__ = [
    "read_byte_pair_file",
    "read_piece_file",
    "read_word_piece_file",
    "write_merges_file",
    "write_unigram_file",
]

_LONGEST_WORD = 100
# Steps that SentencePiece takes by itself.
_SPACE_STEPS = frozenset(
    {
        ("Strip", None, None),
        ("Prepend", None, None),
        ("Replace", " {2,}", " "),
        ("Replace", " {2,}", "\u2581"),
        ("Replace", r"\s{2,}|[\n\r\t]", " "),
        ("Replace", " ", "\u2581"),
    }
)
# Steps before SentencePiece's own: the rule of `TextRules` that they are.
_RULE_STEPS: dict[str, set[tuple[str, str | None, str | None]]] = {
    "lowercase": {("Lowercase", None, None)},
    "strip_accents": {("NFKD", None, None), ("StripAccents", None, None)},
    "uses_albert_rules": {("Replace", "``", '"'), ("Replace", "''", '"')},
}
_SPACES_ESCAPED = ("Replace", " ", "\u2581")
_IDLE_SPLIT = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}
_BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def read_word_piece_file(path) -> dict[str, Any]:
    """Returns the arguments of `WordPieceTokenizer` that a `tokenizer.json` says."""
    content = _read(path, "WordPiece")
    model, normalizer = content["model"], content.get("normalizer") or {}
    _check(path, "normalizer", normalizer.get("type"), ("BertNormalizer",))
    _check(path, "normalizer.clean_text", normalizer.get("clean_text"), (True,))
    _check(path, "pre_tokenizer", _kind(content.get("pre_tokenizer")), ("BertPreTokenizer",))
    longest = model.get("max_input_chars_per_word", _LONGEST_WORD)
    _check(path, "model.max_input_chars_per_word", longest, (_LONGEST_WORD,))
    lowercase, strip_accents = normalizer.get("lowercase", True), normalizer.get("strip_accents")
    return {
        "vocabulary": _vocabulary(content),
        "lowercase": lowercase,
        # None stands for "as lowercase"; that is what our default means.
        "strip_accents": strip_accents is True,
        "keep_accents": lowercase and strip_accents is False,
        "split_on_cjk": normalizer.get("handle_chinese_chars", True),
        "suffix_indicator": model.get("continuing_subword_prefix", "##"),
        "oov_token": model.get("unk_token", "[UNK]"),
    }


def read_byte_pair_file(
    path, *, unicode_form: str | None, special_tokens: Collection[str]
) -> dict[str, Any]:
    """Returns the arguments of `BytePairTokenizer` that a `tokenizer.json` says.

    Args:
        path: The file.
        unicode_form: The normaliser that the tokenizer has.
        special_tokens: Tokens that it takes care of. Others that were added are never split, unless
            they are special in the file: such are text for us.
    """
    content = _read(path, "BPE")
    model, words = content["model"], content.get("pre_tokenizer") or {}
    _check(path, "normalizer", _kind(content.get("normalizer")), (unicode_form,))
    _check(path, "pre_tokenizer", words.get("type"), ("ByteLevel",))
    _check(path, "pre_tokenizer.use_regex", words.get("use_regex", True), (True,))
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        _check(path, f"model.{option}", model.get(option) or None, (None,))
    _check(path, "model.ignore_merges", model.get("ignore_merges", False), (False,))
    added = [
        token
        for token in content.get("added_tokens") or ()
        if token["content"] not in special_tokens and not token.get("special", False)
    ]
    for token in added:
        for option in ("single_word", "lstrip", "rstrip"):
            name = f"added token {token['content']!r} with {option}"
            _check(path, name, token.get(option, False), (False,))
    arguments = {
        "vocabulary": _vocabulary(content),
        "merges": model.get("merges", ()),
        "add_prefix_space": words.get("add_prefix_space", False),
    }
    if added:
        arguments["unsplittable_tokens"] = [token["content"] for token in added]
    return arguments


def read_piece_file(
    path, *, control_tokens: Iterable[str], first_tokens: tuple[str, ...], last_token: str | None
) -> tuple[PieceModel, dict[str, bool]]:
    """Returns the SentencePiece model from which a `tokenizer.json` was made, and the text's rules.

    Args:
        path: The file.
        control_tokens: Where the model merges pairs, as Gemma's do: tokens that no text becomes;
            all others that were added are symbols.
        first_tokens: Where it does not: tokens that stand there in place of the model's <unk>, <s>
            and </s>.
        last_token: The token that then stands there behind the model's pieces.

    Returns:
        The model, and those arguments of `TextRules` that are set.
    """
    content = _read(path, "Unigram", "BPE")
    if content["model"].get("type") == "BPE":
        return _model_of_pairs(path, content, control_tokens), {}
    return _unigram_model(path, content, first_tokens, last_token)


def _model_of_pairs(path, content: Mapping[str, Any], control_tokens: Iterable[str]) -> PieceModel:
    """Returns the SentencePiece model from whose pieces the merge rules of a file were made.

    Such a model merges neighbours into the best piece there is, whatever they are. So the rules of
    each piece stand together there, and are all ways to make it of two others; what does not
    belong to a piece in this way cannot be said by any model, and is refused.
    """
    model = content["model"]
    _check(path, "normalizer", _signature_or_none(content.get("normalizer")), (_SPACES_ESCAPED,))
    words = content.get("pre_tokenizer")
    # Nothing is left for it to split at: no space gets that far.
    _check(path, "pre_tokenizer", None if words == _IDLE_SPLIT else words, (None,))
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        _check(path, f"model.{option}", model.get(option) or None, (None,))
    _check(path, "model.byte_fallback", model.get("byte_fallback", False), (True,))
    pieces = sorted(vocabulary := _vocabulary(content), key=vocabulary.__getitem__)
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        raise _no_model_of_pairs(path, "its ids have gaps")
    if model.get("unk_token") not in vocabulary:
        raise _no_model_of_pairs(path, "it has no token for what is unknown")
    # A model of transformers 4 has a tab in place of its byte.
    for i in range(1, len(pieces) - 1):
        if pieces[i - 1 : i + 2] == ["<0x08>", "\t", "<0x0A>"]:
            pieces[i] = "<0x09>"
    added = [{**token, "special": False} for token in content.get("added_tokens") or ()]
    kinds = _piece_types(pieces, added, vocabulary[model["unk_token"]], control_tokens)
    return PieceModel(
        pieces=pieces,
        scores=_scores_of_merges(path, pieces, kinds, model.get("merges", ())),
        types=kinds,
        model_type=ModelType.BPE,
        normalizer_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        byte_fallback=True,
        unk_piece=model["unk_token"],
        bos_piece=_first_of(("<bos>", "<s>"), vocabulary),
        eos_piece=_first_of(("<eos>", "</s>"), vocabulary),
        pad_piece=_first_of(("<pad>",), vocabulary),
    )


def _scores_of_merges(path, pieces: list[str], kinds: list[int], merges) -> list[float]:
    """Returns a score for each piece: the earlier its rules stand, the higher it is."""
    # Symbols come out of texts as they are, before any rule.
    normal = {p for p, kind in zip(pieces, kinds, strict=True) if kind == PieceType.NORMAL}
    parts = {*normal, *_symbols(pieces, kinds)}
    ways: dict[str, set[int]] = {}
    last = None
    for rule in merges:
        pair = rule.split(" ") if isinstance(rule, str) else rule
        if len(pair) != 2:
            raise _no_model_of_pairs(path, f"a rule is {rule!r}")
        left, right = pair
        piece = left + right
        if piece not in normal:
            continue
        if piece in ways and piece != last:
            raise _no_model_of_pairs(path, f"the rules for {piece!r} do not stand together")
        ways.setdefault(piece, set()).add(len(left))
        last = piece
    for piece in normal:
        if _ways(piece, parts) != ways.get(piece, set()):
            raise _no_model_of_pairs(path, f"of the ways to make {piece!r} some have no rule")
    ranks = {piece: i for i, piece in enumerate(ways)}
    return [
        -float(ranks.get(piece, len(ranks) + i)) if kind == PieceType.NORMAL else 0.0
        for i, (piece, kind) in enumerate(zip(pieces, kinds, strict=True))
    ]


def _no_model_of_pairs(path, reason: str) -> PresetError:
    return PresetError(
        f"'{path}' was made from no SentencePiece model, which this tokenizer is: {reason}. Use "
        "the tokenizer.model that the model was published with, or another tokenizer."
    )


def _symbols(pieces: Sequence[str], kinds: Sequence[int]) -> list[str]:
    return [p for p, kind in zip(pieces, kinds, strict=True) if kind == PieceType.USER_DEFINED]


def _ways(piece: str, parts: Container[str]) -> set[int]:
    """Returns where a piece can be cut into two of the parts."""
    return {i for i in range(1, len(piece)) if piece[:i] in parts and piece[i:] in parts}


def _unigram_model(
    path, content: Mapping[str, Any], first_tokens: tuple[str, ...], last_token: str | None
) -> tuple[PieceModel, dict[str, bool]]:
    model = content["model"]
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    unk_id = model["unk_id"]
    if first_tokens:
        names = tuple(piece for piece, _ in entries[: len(first_tokens)])
        _check(path, "model.vocab's first tokens", names, (first_tokens,))
        if entries[-1][0] == last_token:
            entries.pop()
        entries = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *entries[len(first_tokens) :]]
        unk_id = 0
    pieces = [piece for piece, _ in entries]
    kinds = _piece_types(pieces, content.get("added_tokens") or (), unk_id, ("<s>", "</s>"))
    names = {token: i for i, token in enumerate(pieces)}
    steps = {_signature(step) for step in _steps(content.get("normalizer"), "normalizers")}
    rules = {rule: of_rule for rule, of_rule in _RULE_STEPS.items() if of_rule <= steps}
    model = PieceModel(
        pieces=pieces,
        scores=single_precision([score for _, score in entries], f"'{path}'"),
        types=kinds,
        byte_fallback=PieceType.BYTE in kinds,
        unk_piece=pieces[unk_id],
        bos_piece=_first_of(("<s>", "[CLS]", "<bos>"), names),
        eos_piece=_first_of(("</s>", "[SEP]", "<eos>"), names),
        pad_piece=_first_of(("<pad>", "[PAD]"), names),
        **_unigram_spaces(path, content, _SPACE_STEPS.union(*rules.values())),
    )
    return model, dict.fromkeys(rules, True)


def write_merges_file(
    path, model: PieceModel, *, start: str, special_tokens: Sequence[str]
) -> None:
    """Writes a `tokenizer.json` with the merge rules of a SentencePiece model of pairs.

    Args:
        path: The file.
        model: The model; its pieces are the vocabulary.
        start: The token before a text, a piece of the model.
        special_tokens: Tokens to be recognised in texts, beside the model's symbols.

    Raises:
        PresetError: If the `tokenizers` library has no such model.
    """
    spaces = (model.add_dummy_prefix, model.remove_extra_whitespaces, model.charsmap)
    if any(spaces) or not model.escape_whitespaces or not model.byte_fallback:
        raise PresetError(
            "A SentencePiece model of pairs that changes the text before it splits it, or that has "
            "no pieces for bytes, has no equal there. Train it with "
            "normalization_rule_name='identity' and byte_fallback=True."
        )
    symbols = _symbols(model.pieces, model.types)
    normal = [
        (-score, i)
        for i, (score, kind) in enumerate(zip(model.scores, model.types, strict=True))
        if kind in (PieceType.NORMAL, PieceType.USER_DEFINED)
    ]
    ordered = [model.pieces[i] for _, i in sorted(normal)]
    parts = set(ordered)
    merges = [(p[:i], p[i:]) for p in ordered for i in sorted(_ways(p, parts))]
    vocabulary = {piece: i for i, piece in enumerate(model.pieces)}
    options = {"unk_token": model.unk_piece, "fuse_unk": True, "byte_fallback": True}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges, **options))  # pyright: ignore[reportCallIssue]
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0",
        pair=f"{start}:0 $A:0 {start}:1 $B:1",
        special_tokens=[(start, vocabulary[start])],
    )
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(t, normalized=False) for t in special_tokens]
    )
    tokenizer.add_tokens([tokenizers.AddedToken(t, normalized=False) for t in symbols])
    tokenizer.save(str(path))


def write_unigram_file(
    path,
    model: PieceModel,
    *,
    steps: Sequence[normalizers.Normalizer],
    start: str,
    end: str,
    special_tokens: Sequence[str],
) -> None:
    """Writes a `tokenizer.json` that gives the ids of a SentencePiece model, as far as it can.

    Args:
        path: The file.
        model: The model; its pieces are the vocabulary.
        steps: What is done to a text before the model's own normalisation.
        start: The token before a text, a piece of the model.
        end: The one behind a text, and behind each of a pair.
        special_tokens: Tokens to be recognised in texts.

    Raises:
        PresetError: If the `tokenizers` library has no such model.
    """
    spaces = (model.add_dummy_prefix, model.remove_extra_whitespaces, model.escape_whitespaces)
    if model.model_type != ModelType.UNIGRAM or not all(spaces) or model.treat_whitespace_as_suffix:
        kind = ModelType(model.model_type).name.lower()
        raise PresetError(
            f"A SentencePiece model of type {kind!r} (or with spaces treated otherwise than by "
            f"default) has no equal there. Train it with model_type='unigram'."
        )
    vocabulary = list(zip(model.pieces, model.scores, strict=True))
    unigram = models.Unigram(vocabulary, unk_id=model.unk_id, byte_fallback=model.byte_fallback)
    tokenizer = tokenizers.Tokenizer(unigram)  # pyright: ignore[reportCallIssue]
    charsmap = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    tokenizer.normalizer = normalizers.Sequence([*steps, *charsmap])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(token, model.pieces.index(token)) for token in (start, end)],
    )
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(t, normalized=False) for t in special_tokens]
    )
    tokenizer.save(str(path))


def _unigram_spaces(path, content: Mapping[str, Any], known_steps: frozenset) -> dict[str, Any]:
    """Returns what normaliser and pre-tokenizer say about characters and spaces."""
    steps = list(_steps(content.get("normalizer"), "normalizers"))
    kinds = [_signature(step) for step in steps]
    charsmaps = [step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"]
    forms = {"NFC", "NFKC", "Nmt"}
    strange = [
        kind for kind in kinds if kind not in known_steps and kind[0] not in {*forms, "Precompiled"}
    ]
    _check(path, "normalizer", tuple(strange), ((),))
    words = list(_steps(content.get("pre_tokenizer"), "pretokenizers"))
    known = ("WhitespaceSplit", "Metaspace")
    strange = [step["type"] for step in words if step["type"] not in known]
    _check(path, "pre_tokenizer", tuple(strange), ((),))
    metaspace = next((step for step in words if step["type"] == "Metaspace"), {})
    scheme = metaspace.get("prepend_scheme", "always")
    if charsmaps:
        charsmap, name = base64.b64decode(charsmaps[0]), ""
    elif any(kind[0] in forms for kind in kinds):
        # transformers 5 writes the tokenizers of SentencePiece models so; the models themselves
        # have SentencePiece's default.
        charsmap, name = _nmt_nfkc(), "nmt_nfkc"
    else:
        charsmap, name = b"", "identity"
    return {
        "charsmap": charsmap,
        "normalizer_name": name,
        "add_dummy_prefix": scheme != "never" and metaspace.get("add_prefix_space", True),
        "remove_extra_whitespaces": any(step["type"] == "WhitespaceSplit" for step in words)
        or any(kind[0] == "Replace" and "{2,}" in str(kind[1]) for kind in kinds),
    }


def _piece_types(
    pieces: list[str], added_tokens: Iterable[Mapping], unk_id: int, control_tokens: Iterable[str]
) -> list[int]:
    kinds = [int(PieceType.NORMAL)] * len(pieces)
    places = {piece: i for i, piece in enumerate(pieces)}
    for token in added_tokens:
        if token["content"] in places:
            kind = PieceType.CONTROL if token.get("special") else PieceType.USER_DEFINED
            kinds[places[token["content"]]] = int(kind)
    for name in control_tokens:
        if name in places:
            kinds[places[name]] = int(PieceType.CONTROL)
    if all(piece in places for piece in _BYTE_PIECES):
        for piece in _BYTE_PIECES:
            kinds[places[piece]] = int(PieceType.BYTE)
    kinds[unk_id] = int(PieceType.UNKNOWN)
    return kinds


@functools.cache
def _nmt_nfkc() -> bytes:
    """Returns SentencePiece's default map of characters (Apache-2.0, as the rest of it)."""
    stored = resources.files("clozework.tokenizers").joinpath("nmt_nfkc.charsmap.xz")
    return lzma.decompress(stored.read_bytes())


def _read(path, *kinds: str) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, "tokenizer"))
    except json.JSONDecodeError as error:
        raise PresetError(f"'{path}' is not a JSON file: {error}.") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or "vocab" not in model:
        raise PresetError(
            f"'{path}' is not a tokenizer.json of Hugging Face: it has no model.vocab."
        )
    # Files of the first versions leave the type out.
    _check(path, "model.type", model.get("type", kinds[0]), kinds)
    return content


def _vocabulary(content: Mapping[str, Any]) -> dict[str, int]:
    """Returns token -> id, with the tokens that were added to the model's."""
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    return {**content["model"]["vocab"], **added}


def _check(path, what: str, value, accepted: tuple) -> None:
    if value not in accepted:
        expected = " or ".join(map(repr, accepted))
        raise PresetError(
            f"'{path}' has {what} {value!r}; this tokenizer takes only {expected}. Use the "
            "vocabulary files that the model was published with, or another tokenizer."
        )


def _kind(step: Mapping[str, Any] | None) -> str | None:
    return None if step is None else step.get("type")


def _steps(step: Mapping[str, Any] | None, key: str) -> Iterable[Mapping[str, Any]]:
    """Yields the steps of a sequence of sequences of steps."""
    if step is None:
        return
    if step["type"] != "Sequence":
        yield step
        return
    for part in step[key]:
        yield from _steps(part, key)


def _signature(step: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    if step["type"] != "Replace":
        return step["type"], None, None
    return "Replace", next(iter(step["pattern"].values())), step["content"]


def _signature_or_none(step: Mapping[str, Any] | None) -> tuple[str, str | None, str | None] | None:
    return None if step is None else _signature(step)


def _first_of(names: tuple[str, ...], known: Mapping[str, int]) -> str:
    return next((name for name in names if name in known), names[0])
