"""SentencePiece's `.model` files, read and written without protobuf or the sentencepiece package.

The format is https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto in
protobuf's wire format; the numbers of the fields below are its own.
"""

import dataclasses
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from clozework.errors import PresetError

__all__ = [
    "ModelType",
    "PieceModel",
    "PieceType",
    "read_piece_model",
    "single_precision",
    "write_piece_model",
]

# Fields of the messages, and the tags (number and wire type) of those read byte by byte.
_PIECES, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _VOCABULARY_SIZE, _WHITESPACE_AS_SUFFIX, _BYTE_FALLBACK = 3, 4, 24, 35
_UNK_ID, _BOS_ID, _EOS_ID, _PAD_ID = 40, 41, 42, 43
_UNK_SURFACE, _UNK_PIECE, _BOS_PIECE, _EOS_PIECE, _PAD_PIECE = 44, 45, 46, 47, 48
_NAME, _CHARSMAP, _DUMMY_PREFIX, _REMOVE_WHITESPACES, _ESCAPE_WHITESPACES = 1, 2, 3, 4, 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class PieceType(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class ModelType(IntEnum):
    """How a text is split into pieces."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True)
class PieceModel:
    """What a SentencePiece model says about encoding and decoding; defaults are the format's."""

    pieces: list[str]
    scores: list[float]
    types: list[int]
    model_type: int = ModelType.UNIGRAM
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    treat_whitespace_as_suffix: bool = False
    byte_fallback: bool = False
    unk_piece: str = "<unk>"
    bos_piece: str = "<s>"
    eos_piece: str = "</s>"
    pad_piece: str = "<pad>"
    unk_surface: str = " \u2047 "
    denormalizer_charsmap: bytes = b""
    normalizer_name: str = field(default="", compare=False)

    @property
    def unk_id(self) -> int:
        """The index of the one piece that stands for what no other piece covers."""
        return self.types.index(PieceType.UNKNOWN)


def read_piece_model(data: bytes, where: str = "This") -> PieceModel:
    """Returns what a serialized SentencePiece model says.

    Args:
        data: The model.
        where: What it is called in errors: its file.

    Raises:
        PresetError: If it is none, or damaged.
    """
    try:
        model = _read_model(data)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise PresetError(
            f"{where} is not a SentencePiece model, or a damaged one ({len(data)} bytes): {error}."
        ) from error
    if model.types.count(PieceType.UNKNOWN) != 1:
        raise PresetError(
            f"{where} is not a SentencePiece model that can be used: it needs exactly one piece of "
            f"type UNKNOWN, and of its {len(model.pieces)} pieces "
            f"{model.types.count(PieceType.UNKNOWN)} are."
        )
    if model.model_type not in set(ModelType):
        raise PresetError(
            f"{where} is not a SentencePiece model that can be used: its model type "
            f"{model.model_type} is not known."
        )
    return model


def _read_model(data: bytes) -> PieceModel:
    pieces: list[str] = []
    scores: list[bytes] = []
    types: list[int] = []
    options: dict = {}
    # Pieces are hundreds of thousands of small messages of nearly always the same form.
    position, size = 0, len(data)
    while position < size:
        if data[position] != (_PIECES << 3 | _BYTES):
            number, value, position = _read_field(data, position)
            options.update(_read_options(number, value))
            continue
        length, start = _read_varint(data, position + 1)
        position = start + length
        if position > size:
            raise ValueError("it ends inside a piece")
        text_end = start + 2 + data[start + 1]
        rest = data[text_end:position]
        is_usual = data[start] == 0x0A and data[start + 1] < 0x80 and rest[:1] == b"\x15"
        if is_usual and (len(rest) == 5 or (len(rest) == 7 and rest[5] == 0x18 and rest[6] < 0x80)):
            pieces.append(data[start + 2 : text_end].decode("utf-8"))
            scores.append(rest[1:5])
            types.append(rest[6] if len(rest) == 7 else 1)
            continue
        piece = dict(_fields(data[start:position]))
        pieces.append(_typed(piece, _PIECE, b"").decode("utf-8"))
        scores.append(_typed(piece, _SCORE, b"\0\0\0\0"))
        types.append(_typed(piece, _TYPE, int(PieceType.NORMAL)))
    # Doubles that hold single-precision numbers: sums of them are what the original computes.
    if any(len(score) != 4 for score in scores):
        raise ValueError("a score is not a 32-bit number")
    values = np.frombuffer(b"".join(scores), dtype="<f4").astype("float64").tolist()
    return PieceModel(pieces=pieces, scores=values, types=types, **options)


# Fields of the specifications -> fields of `PieceModel`.
_OPTIONS = {
    _TRAINER: {
        _MODEL_TYPE: "model_type",
        _WHITESPACE_AS_SUFFIX: "treat_whitespace_as_suffix",
        _BYTE_FALLBACK: "byte_fallback",
        _UNK_SURFACE: "unk_surface",
        _UNK_PIECE: "unk_piece",
        _BOS_PIECE: "bos_piece",
        _EOS_PIECE: "eos_piece",
        _PAD_PIECE: "pad_piece",
    },
    _NORMALIZER: {
        _NAME: "normalizer_name",
        _CHARSMAP: "charsmap",
        _DUMMY_PREFIX: "add_dummy_prefix",
        _REMOVE_WHITESPACES: "remove_extra_whitespaces",
        _ESCAPE_WHITESPACES: "escape_whitespaces",
    },
    _DENORMALIZER: {_CHARSMAP: "denormalizer_charsmap"},
}


def _read_options(number: int, value) -> dict[str, Any]:
    """Returns the fields of `PieceModel` in one of the specifications."""
    names = _OPTIONS.get(number)
    if names is None:
        return {}
    if not isinstance(value, bytes):
        raise ValueError(f"field {number} is of another type")
    fields = dict(_fields(value))
    options = {}
    for key, name in names.items():
        if key in fields:
            default = _DEFAULTS[name]
            stored = b"" if isinstance(default, (str, bytes)) else 0
            found = _typed(fields, key, stored)
            options[name] = found.decode("utf-8") if isinstance(default, str) else found
            if isinstance(default, bool):
                options[name] = bool(found)
    return options


_DEFAULTS = {
    each.name: each.default
    for each in dataclasses.fields(PieceModel)
    if each.default is not MISSING
}


def _typed(fields: Mapping[int, Any], number: int, default):
    """Returns a field of a message, which has to be of the type of its default."""
    value = fields.get(number, default)
    if not isinstance(value, type(default)):
        raise ValueError(f"field {number} is of another type")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields number and value of each field of a message: an int, or the bytes of anything else."""
    position = 0
    while position < len(data):
        number, value, position = _read_field(data, position)
        yield number, value


def _read_field(data: bytes, position: int):
    tag, position = _read_varint(data, position)
    wire_type = tag & 7
    if wire_type == _VARINT:
        value, position = _read_varint(data, position)
        return tag >> 3, value, position
    if wire_type == _BYTES:
        length, position = _read_varint(data, position)
    elif wire_type in (_FIXED32, _FIXED64):
        length = 4 if wire_type == _FIXED32 else 8
    else:
        raise ValueError(f"wire type {wire_type} does not exist")
    if position + length > len(data):
        raise ValueError("it ends inside a field")
    return tag >> 3, data[position : position + length], position + length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def single_precision(scores: Sequence[float], where: str) -> list[float]:
    """Returns scores as they come out of a model's file: rounded to 32 bits.

    Raises:
        PresetError: If one is too large, or no number.
    """
    given = np.asarray(scores, "float64")
    with np.errstate(over="ignore"):
        rounded = given.astype("float32")
    if not np.isfinite(rounded).all():
        wrong = given[~np.isfinite(rounded)][0]
        raise PresetError(f"{where} has a piece with the score {wrong}, which is no 32-bit number.")
    return rounded.astype("float64").tolist()


def write_piece_model(model: PieceModel) -> bytes:
    """Returns a model as bytes that `read_piece_model` and the sentencepiece package read."""
    ids = {piece: i for i, piece in enumerate(model.pieces)}
    trainer = b"".join(
        (
            _number(_MODEL_TYPE, model.model_type),
            _number(_VOCABULARY_SIZE, len(model.pieces)),
            _number(_WHITESPACE_AS_SUFFIX, model.treat_whitespace_as_suffix),
            _number(_BYTE_FALLBACK, model.byte_fallback),
            _number(_UNK_ID, model.unk_id),
            _number(_BOS_ID, ids.get(model.bos_piece, -1)),
            _number(_EOS_ID, ids.get(model.eos_piece, -1)),
            _number(_PAD_ID, ids.get(model.pad_piece, -1)),
            _text(_UNK_SURFACE, model.unk_surface),
            _text(_UNK_PIECE, model.unk_piece),
            _text(_BOS_PIECE, model.bos_piece),
            _text(_EOS_PIECE, model.eos_piece),
            _text(_PAD_PIECE, model.pad_piece),
        )
    )
    normalizer = b"".join(
        (
            _text(_NAME, model.normalizer_name),
            _bytes(_CHARSMAP, model.charsmap),
            _number(_DUMMY_PREFIX, model.add_dummy_prefix),
            _number(_REMOVE_WHITESPACES, model.remove_extra_whitespaces),
            _number(_ESCAPE_WHITESPACES, model.escape_whitespaces),
        )
    )
    denormalizer = _bytes(_CHARSMAP, model.denormalizer_charsmap)
    pieces = (
        _bytes(_PIECES, _text(_PIECE, piece) + _float(_SCORE, score) + _number(_TYPE, kind))
        for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True)
    )
    return b"".join(
        (
            *pieces,
            _bytes(_TRAINER, trainer),
            _bytes(_NORMALIZER, normalizer),
            _bytes(_DENORMALIZER, denormalizer) if model.denormalizer_charsmap else b"",
        )
    )


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64-bit two's complements
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(int(value))


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED32) + struct.pack("<f", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode("utf-8"))
