"""SentencePiece's way from pieces back to text."""

from clozework.tokenizers.charsmap import read_charsmap
from clozework.tokenizers.piece_model import PieceModel, PieceType
from clozework.tokenizers.piece_normalizer import SPACE, replaced

__all__ = ["PieceDecoder"]


class PieceDecoder:
    """Joins pieces, as `Decode` in
    https://github.com/google/sentencepiece/blob/master/src/sentencepiece_processor.cc does.

    Args:
        model: The model.
    """

    def __init__(self, model: PieceModel):
        self._model = model
        self._denormalizer = read_charsmap(model.denormalizer_charsmap)

    def decode(self, pieces: list[int]) -> str:
        """Returns the text of pieces, given by their indices in the model."""
        model = self._model
        text = ""
        pending = bytearray()
        is_start, has_start_space = True, False
        for piece in pieces:
            if model.types[piece] == PieceType.BYTE:
                pending.append(int(model.pieces[piece][3:5], 16))
                continue
            text += _decoded_bytes(pending)
            pending.clear()
            if has_start_space or text:
                is_start = False
            decoded, has_start_space = self._decoded_piece(piece, is_start)
            text += decoded
        text += _decoded_bytes(pending)
        return replaced(text, self._denormalizer) if model.denormalizer_charsmap else text

    def _decoded_piece(self, piece: int, is_start: bool) -> tuple[str, bool]:
        """Returns the text of a piece, and whether the space before the text was taken from it."""
        model = self._model
        if model.types[piece] == PieceType.CONTROL:
            return "", False
        if model.types[piece] == PieceType.UNKNOWN:
            return model.unk_surface, False
        text = model.pieces[piece]
        has_start_space = False
        if is_start and (model.add_dummy_prefix or model.remove_extra_whitespaces):
            has_start_space = text.startswith(SPACE)
            text = text.removeprefix(SPACE)
            if model.remove_extra_whitespaces:
                has_start_space = False
        return text.replace(SPACE, " "), has_start_space


def _decoded_bytes(data: bytearray) -> str:
    """Returns the characters in UTF-8 bytes, U+FFFD for each byte that is part of none."""
    characters = []
    position = 0
    while position < len(data):
        for length in (1, 2, 3, 4):
            try:
                characters.append(data[position : position + length].decode("utf-8"))
            except UnicodeDecodeError:
                continue
            position += length
            break
        else:
            characters.append("\ufffd")
            position += 1
    return "".join(characters)
