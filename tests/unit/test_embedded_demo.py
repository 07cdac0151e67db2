"""The preset that comes with the package."""

from pathlib import Path

import h5py
import pytest

import clozework
from clozework.models import DebertaV3MaskedLM

PRESET = Path(clozework.__file__).parent / "models/embedded/deberta_v3_tiny_en_demo"
OPENING = "In the beginning God created the [MASK] and the earth."


@pytest.fixture(scope="module")
def masked_lm():
    return DebertaV3MaskedLM.from_preset("deberta_v3_tiny_en_demo")


def test_the_opening_verse_is_filled_with_heaven(masked_lm):
    assert masked_lm.fill(OPENING).masks[0].candidates[0].token == "heaven"


def test_the_answer_does_not_depend_on_the_batch(masked_lm):
    texts = ["The LORD is my [MASK].", OPENING, "a domesticated [MASK] with long ears"]
    alone = [masked_lm.fill(text).masks[0].candidates[0] for text in texts]
    together = [filled.masks[0].candidates[0] for filled in masked_lm.fill(texts)]
    assert [c.token for c in alone] == [c.token for c in together]
    assert [c.probability for c in alone] == pytest.approx(
        [c.probability for c in together], abs=1e-5
    )


def test_it_leaves_room_for_the_library_in_a_wheel_of_twelve_megabytes():
    assert sum(path.stat().st_size for path in PRESET.rglob("*")) < 10.3e6


@pytest.mark.parametrize("name", ["model.weights.h5", "task.weights.h5"])
def test_its_weights_are_stored_in_half_precision(name):
    dtypes = set()
    with h5py.File(PRESET / name) as file:
        file.visititems(lambda _, item: dtypes.add(str(getattr(item, "dtype", "float16"))))
    assert dtypes == {"float16"}


@pytest.mark.parametrize("source", ["King James Bible", "State of the Union", "WordNet", "Austen"])
def test_its_card_names_the_sources(source):
    assert source in (PRESET / "README.md").read_text(encoding="utf-8")
