"""SentencePiece: text with its spaces as one sequence of characters, split into learned pieces."""

import base64
import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from clozework.errors import ConfigError, InputError
from clozework.start_up import collection_paused
from clozework.tokenizers.assets import asset_path, read_bytes
from clozework.tokenizers.hugging_face_file import (
    read_piece_file,
    write_merges_file,
    write_unigram_file,
)
from clozework.tokenizers.piece_decoder import PieceDecoder
from clozework.tokenizers.piece_model import (
    ModelType,
    PieceModel,
    read_piece_model,
    write_piece_model,
)
from clozework.tokenizers.piece_normalizer import PieceNormalizer
from clozework.tokenizers.piece_segmenters import make_segmenter
from clozework.tokenizers.text_rules import TextRules
from clozework.tokenizers.tokenizer import Encoding, Tokenizer
from clozework.tokenizers.written_words import WrittenWords

__all__ = ["SentencePieceTokenizer"]

_PROTO_FILE = "vocabulary.spm"
# KerasHub takes a string for a path unless it is longer than this and base64.
_LONGEST_PATH = 2048
_FAIRSEQ_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
_FAIRSEQ_UNK_ID = 3
_NUM_REPLACED_PIECES = 3
# What Unicode calls white space; Python's \s has U+001C to U+001F besides.
_WHITE_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"


class SentencePieceTokenizer(Tokenizer):
    """Splits text into the pieces of a SentencePiece model.

    Ids are those of the `sentencepiece` package, which is not needed, on every text. A family that
    numbers its tokens otherwise than the model does says so with `appended_tokens` and
    `has_fairseq_ids`.

    Papers: Kudo and Richardson, 2018, https://arxiv.org/abs/1808.06226; Kudo, 2018,
    https://arxiv.org/abs/1804.10959

    Args:
        proto: The model: the path of its file, or its content as bytes or as base64.
        sequence_length: See `Tokenizer`.
        dtype: See `Tokenizer`, as for `name`, `trainable` and `config_file`.
        add_bos: Whether to put the model's token for the begin of a text before each text.
        add_eos: Whether to put the one for the end behind it.
        lowercase: Whether to lowercase before the model's own normalisation.
        strip_accents: Whether to decompose characters and drop their accents before it.
        uses_albert_rules: Whether two backticks or two apostrophes become a quotation mark before
            it, and pieces such as "1," are avoided, as in ALBERT's own tokenizer.

    `token_to_id` gives the id of the unknown token for what is no token, as SentencePiece does.
    """

    file_assets = (_PROTO_FILE,)
    # Tokens that have the ids after the last piece, each where the model has no such piece.
    appended_tokens: ClassVar[tuple[str, ...]] = ()
    # Whether ids are those of fairseq: <s>, <pad>, </s>, <unk> in place of the first three pieces,
    # so that the others stand one higher, and <mask> after the last.
    has_fairseq_ids: ClassVar[bool] = False

    def __init__(
        self,
        proto=None,
        sequence_length: int | None = None,
        dtype="int32",
        add_bos: bool = False,
        add_eos: bool = False,
        *,
        lowercase: bool = False,
        strip_accents: bool = False,
        uses_albert_rules: bool = False,
        name: str | None = None,
        trainable: bool = True,
        config_file: str = "tokenizer.json",
    ):
        super().__init__(
            sequence_length=sequence_length,
            dtype=dtype,
            name=name,
            trainable=trainable,
            config_file=config_file,
        )
        self.add_bos = add_bos
        self.add_eos = add_eos
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.uses_albert_rules = uses_albert_rules
        self._rules = TextRules(**self._rule_options())
        self.set_proto(proto)

    @classmethod
    @collection_paused()
    def from_hugging_face_file(cls, path, **arguments):
        """Returns the tokenizer whose SentencePiece model a `tokenizer.json` was made from.

        Args:
            path: The file.
            **arguments: Constructor arguments that replace what the file says.
        """
        model, rules = read_piece_file(
            path,
            control_tokens=cls.special_tokens_by_role.values(),
            first_tokens=_FAIRSEQ_TOKENS if cls.has_fairseq_ids else (),
            last_token="<mask>",
        )
        return cls(**{"proto": model, **rules, **arguments})

    def to_hugging_face_file(self, path) -> None:
        """Writes a `tokenizer.json` that gives our ids, with start and end around texts and pairs.

        Models of pairs, as Gemma's, have the start alone.

        Raises:
            PresetError: If the model splits texts in a way that the `tokenizers` library has not.
        """
        self._checked_vocabulary()
        unk_token = self._vocabulary[self._unk_token_id]
        special_tokens = [*self.special_tokens, unk_token]
        start, end = (self.special_tokens_by_role[role] for role in ("start", "end"))
        if self._model.model_type == ModelType.BPE:
            write_merges_file(path, self._model, start=start, special_tokens=special_tokens)
            return
        write_unigram_file(
            path,
            self._rules.scored(self._model),
            steps=self._rules.steps,
            start=start,
            end=end,
            special_tokens=special_tokens,
        )

    @collection_paused()
    def set_proto(self, proto) -> None:
        """Sets the model, in one of the constructor's forms. `None` removes it."""
        if proto is None:
            self._has_model = False
            self._proto = None
            self._clear_special_token_ids()
            return
        if isinstance(proto, PieceModel):
            # That of a `tokenizer.json`, which is no file yet.
            self._model, self._proto = proto, None
        else:
            data, where = _content(proto)
            self._model, self._proto = read_piece_model(data, where), data
        self._has_model = True
        self._vocabulary = self._numbered_tokens(self._model)
        # From the end, so that of equal tokens the first counts.
        ids = range(len(self._vocabulary))
        self._token_ids = dict(zip(reversed(self._vocabulary), reversed(ids), strict=True))
        self._unk_token_id = _FAIRSEQ_UNK_ID if self.has_fairseq_ids else self._model.unk_id
        self._set_special_token_ids()
        self._normalizer = PieceNormalizer(self._model)
        self._segmenter = make_segmenter(self._rules.scored(self._model), self._piece_ids())
        self._written_words = WrittenWords(self._normalizer, self._segmenter)
        self._decoder = PieceDecoder(self._model)
        self._border_ids = self._ids_at_borders()
        self._special_token_finder = self._make_special_token_finder()

    @property
    def proto(self) -> bytes | None:
        """The model as bytes, which the sentencepiece package reads; None where there is none."""
        if self._proto is None and self._has_model:
            # Few ask for it: writing a model takes longer than to read one.
            self._proto = write_piece_model(self._model)
        return self._proto

    def get_vocabulary(self) -> list[str]:
        return list(self._checked_vocabulary())

    def vocabulary_size(self) -> int:
        return len(self._checked_vocabulary())

    def id_to_token(self, id: int) -> str:  # noqa: A002 (KerasHub's argument name)
        vocabulary = self._checked_vocabulary()
        if not 0 <= id < len(vocabulary):
            raise InputError(
                f"Id {id} is not in the vocabulary, which has the ids 0 to {len(vocabulary) - 1}."
            )
        return vocabulary[id]

    def token_to_id(self, token: str) -> int:
        self._checked_vocabulary()
        return self._token_ids.get(token, self._unk_token_id)

    def save_assets(self, dir_path) -> None:
        proto = self.proto
        if proto is None:
            raise self._no_vocabulary("proto")
        asset_path(dir_path, _PROTO_FILE).write_bytes(proto)

    def load_assets(self, dir_path) -> None:
        self.set_proto(asset_path(dir_path, _PROTO_FILE))

    def get_config(self) -> dict[str, Any]:
        # KerasHub has no such rules, so they are written only where they say something.
        rules = {name: True for name, is_set in self._rule_options().items() if is_set}
        return {
            **super().get_config(),
            "proto": None,
            "sequence_length": self.sequence_length,
            "add_bos": self.add_bos,
            "add_eos": self.add_eos,
            **rules,
        }

    def _rule_options(self) -> dict[str, bool]:
        return {
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "uses_albert_rules": self.uses_albert_rules,
        }

    def _encode(self, texts: list[str], recognised: bool) -> list[Encoding]:
        self._checked_vocabulary()
        before, after = self._border_ids
        encodings = []
        for text in texts:
            ids: list[int] = list(before)
            offsets: list[tuple[int, int]] = [(0, 0)] * len(before)
            for start, end, special_id in self._parts(text, recognised):
                if special_id is not None:
                    ids.append(special_id)
                    offsets.append((start, end))
                    continue
                part = self._encode_part(text[start:end])
                ids += part.ids
                offsets += [(start + left, start + right) for left, right in part.offsets]
            ids += after
            offsets += [(len(text), len(text))] * len(after)
            encodings.append(Encoding(ids, offsets))
        return encodings

    def _encode_ids(self, texts: list[str], recognised: bool) -> list[list[int]]:
        self._checked_vocabulary()
        before, after = self._border_ids
        rows = []
        for text in texts:
            row = list(before)
            for start, end, special_id in self._parts(text, recognised):
                if special_id is None:
                    row += self._part_ids(text[start:end])
                else:
                    row.append(special_id)
            rows.append(row + after)
        return rows

    def _part_ids(self, text: str) -> list[int]:
        text = self._rules.apply(text)
        ids = self._written_words.ids(text)
        return self._segmenter.ids(self._normalizer.normalize(text)) if ids is None else ids

    def _encode_part(self, text: str) -> Encoding:
        normalized, starts, ends = self._normalizer.normalize_with_spans(self._rules.apply(text))
        if self._rules.steps:
            sources = self._rules.spans(text)
            # A space that was put in has no width, and may stand behind the last character.
            starts = [sources[i][0] if i < len(sources) else len(text) for i in starts]
            ends = [sources[i - 1][1] if i else 0 for i in ends]
            ends = [max(pair) for pair in zip(starts, ends, strict=True)]
        ids, spans = self._segmenter.ids_and_spans(normalized)
        space = self._normalizer.space
        offsets = []
        for first, last in spans:
            # The spaces of a piece count as part of it only where it has nothing else.
            piece = normalized[first:last]
            first += len(piece) - len(piece.lstrip(space))
            last = max(first, last - len(piece) + len(piece.rstrip(space)))
            offsets.append(
                (starts[first], ends[last - 1]) if first < last else (ends[last - 1],) * 2
            )
        return Encoding(ids, offsets)

    def _decode(self, rows: list[list[int]]) -> list[str]:
        self._checked_vocabulary()
        pieces = [[self._piece_of(token_id) for token_id in row] for row in rows]
        return [self._decoder.decode([i for i in row if i is not None]) for row in pieces]

    def _parts(self, text: str, recognised: bool) -> Iterator[tuple[int, int, int | None]]:
        """Yields start, end and id of each special token in a text; the rest has id `None`."""
        position = 0
        if recognised and self._special_token_finder is not None:
            for match in self._special_token_finder(text):
                if match.start() > position:
                    yield position, match.start(), None
                yield match.start("token"), match.end(), self._token_ids[match["token"]]
                position = match.end()
        if position < len(text):
            yield position, len(text), None

    def _make_special_token_finder(self):
        """Returns a function that finds the tokens which upstream recognises, or `None`."""
        tokens = {*self.special_tokens, self._vocabulary[self._unk_token_id]}
        if not self.special_tokens:
            return None
        spaced = tokens & self.tokens_taking_space_before
        longest_first = sorted(tokens, key=lambda token: (-len(token), token))
        pattern = f"(?P<token>{'|'.join(map(re.escape, longest_first))})"
        if spaced:
            pattern = f"(?:{_WHITE_SPACE}+(?={'|'.join(map(re.escape, sorted(spaced)))}))?{pattern}"
        return re.compile(pattern).finditer

    def _numbered_tokens(self, model: PieceModel) -> list[str]:
        """Returns all tokens in the order of their ids."""
        if self.has_fairseq_ids:
            return [*_FAIRSEQ_TOKENS, *model.pieces[_NUM_REPLACED_PIECES:], "<mask>"]
        known = frozenset(model.pieces)
        return [*model.pieces, *(token for token in self.appended_tokens if token not in known)]

    def _piece_ids(self) -> list[int]:
        """Returns the id for each piece of the model."""
        size = len(self._model.pieces)
        if not self.has_fairseq_ids:
            return list(range(size))
        # As fairseq has it, and everyone after: piece 0 is taken for the unknown one.
        shift = len(_FAIRSEQ_TOKENS) - _NUM_REPLACED_PIECES
        return [_FAIRSEQ_UNK_ID, *range(1 + shift, size + shift)]

    def _piece_of(self, token_id: int) -> int | None:
        """Returns the piece that an id stands for, `None` if the model has none for it."""
        piece = token_id
        if self.has_fairseq_ids:
            if token_id < len(_FAIRSEQ_TOKENS):
                return 0 if token_id == _FAIRSEQ_UNK_ID else None
            piece = token_id - len(_FAIRSEQ_TOKENS) + _NUM_REPLACED_PIECES
        return piece if piece < len(self._model.pieces) else None

    def _ids_at_borders(self) -> tuple[list[int], list[int]]:
        borders = []
        for is_added, argument, piece in (
            (self.add_bos, "add_bos", self._model.bos_piece),
            (self.add_eos, "add_eos", self._model.eos_piece),
        ):
            if is_added and piece not in self._token_ids:
                raise ConfigError(
                    f"{argument} was asked for, but the SentencePiece model has no piece {piece!r}."
                )
            borders.append([self._token_ids[piece]] if is_added else [])
        return borders[0], borders[1]

    def _checked_vocabulary(self) -> list[str]:
        if not self._has_model:
            raise self._no_vocabulary("proto")
        return self._vocabulary


def _content(proto) -> tuple[bytes, str]:
    """Returns the bytes of a model, and what to call it in errors."""
    if isinstance(proto, (bytes, bytearray)):
        return bytes(proto), "This"
    if isinstance(proto, str) and len(proto) > _LONGEST_PATH:
        try:
            return base64.b64decode(proto, validate=True), "This"
        except ValueError as error:
            raise ConfigError(
                f"proto is a string of {len(proto)} characters, which is neither a path nor "
                f"base64: {error}."
            ) from error
    if not isinstance(proto, (str, os.PathLike)):
        raise ConfigError(
            "proto must be the path of a SentencePiece model or its content as bytes, got "
            f"{type(proto).__name__}."
        )
    return read_bytes(proto, "SentencePiece model"), f"'{os.fspath(proto)}'"
