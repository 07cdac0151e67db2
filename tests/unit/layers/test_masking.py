"""Random masking."""

import numpy as np
import pytest

from clozework.errors import ConfigError
from clozework.layers.masking import MaskedLMMaskGenerator

MASK_ID = 3
OPTIONS = {
    "vocabulary_size": 1000,
    "mask_selection_rate": 0.15,
    "mask_token_id": MASK_ID,
    "unselectable_token_ids": [0, 1, 2],
}


@pytest.fixture
def batch():
    ids = np.random.default_rng(0).integers(4, 1000, (500, 100)).astype("int32")
    ids[:, 0] = 1
    ids[:, 80:] = 0
    return ids


def test_positions_ids_and_weights_say_what_was_masked(batch):
    outputs = MaskedLMMaskGenerator(**OPTIONS, mask_selection_length=20, seed=0)(batch)
    assert list(outputs) == ["token_ids", "mask_positions", "mask_ids", "mask_weights"]
    assert {key: value.dtype.name for key, value in outputs.items()} == {
        "token_ids": "int32",
        "mask_positions": "int32",
        "mask_ids": "int32",
        "mask_weights": "float32",
    }
    is_masked = outputs["mask_weights"] == 1
    rows = np.nonzero(is_masked)[0]
    positions = outputs["mask_positions"][is_masked]
    assert (outputs["mask_ids"][is_masked] == batch[rows, positions]).all()
    assert ((positions > 0) & (positions < 80)).all()
    # Elsewhere nothing changes, and padding comes last.
    restored = outputs["token_ids"].copy()
    restored[rows, positions] = batch[rows, positions]
    assert (restored == batch).all()
    assert (np.diff(outputs["mask_weights"], axis=1) <= 0).all()
    assert (outputs["mask_positions"][~is_masked] == 0).all()


def test_shares_are_as_asked(batch):
    outputs = MaskedLMMaskGenerator(**OPTIONS, mask_selection_length=79, seed=0)(batch)
    is_masked = outputs["mask_weights"] == 1
    rows = np.nonzero(is_masked)[0]
    positions = outputs["mask_positions"][is_masked]
    assert abs(is_masked.sum() / (500 * 79) - 0.15) < 0.01
    after, before = outputs["token_ids"][rows, positions], batch[rows, positions]
    assert abs((after == MASK_ID).mean() - 0.8) < 0.02
    assert abs((after == before).mean() - 0.1) < 0.02
    assert abs(((after != before) & (after != MASK_ID)).mean() - 0.1) < 0.02


def test_too_many_are_cut_at_random(batch):
    options = {**OPTIONS, "mask_selection_rate": 1.0}
    outputs = MaskedLMMaskGenerator(**options, mask_selection_length=5, seed=0)(batch)
    assert (outputs["mask_weights"] == 1).all()
    assert (np.diff(outputs["mask_positions"], axis=1) > 0).all()
    # Not the first five: all places are equally likely.
    assert abs(outputs["mask_positions"].mean() - 40) < 2


def test_without_a_length_outputs_are_ragged(batch):
    outputs = MaskedLMMaskGenerator(**OPTIONS, seed=0)([[5, 6, 7, 8], [0], []])
    assert [len(row) for row in outputs["token_ids"]] == [4, 1, 0]
    for key in ("mask_positions", "mask_ids", "mask_weights"):
        assert len(outputs[key]) == 3
        assert len(outputs[key][1]) == 0
    assert isinstance(MaskedLMMaskGenerator(**OPTIONS)(batch)["token_ids"], np.ndarray)


def test_one_sequence_gives_one_sequence():
    outputs = MaskedLMMaskGenerator(**OPTIONS, mask_selection_length=3)([5, 6, 7, 8])
    assert [value.shape for value in outputs.values()] == [(4,), (3,), (3,), (3,)]
    assert MaskedLMMaskGenerator(**OPTIONS)(np.array([], "int32"))["token_ids"].shape == (0,)


def test_an_empty_batch_stays_empty():
    outputs = MaskedLMMaskGenerator(**OPTIONS, mask_selection_length=3)([])
    assert [value.shape for value in outputs.values()] == [(0, 0), (0, 3), (0, 3), (0, 3)]


def test_a_seed_makes_the_choices_the_same(batch):
    first, second = (MaskedLMMaskGenerator(**OPTIONS, seed=7) for _ in range(2))
    choices = first(batch)["token_ids"]
    assert (choices == second(batch)["token_ids"]).all()
    assert (choices != first(batch)["token_ids"]).any()
    assert (choices != MaskedLMMaskGenerator(**OPTIONS)(batch)["token_ids"]).any()


def test_configs_make_the_same_generator():
    generator = MaskedLMMaskGenerator(**OPTIONS)
    config = generator.get_config()
    assert "seed" not in config
    assert MaskedLMMaskGenerator.from_config(config).get_config() == config
    assert MaskedLMMaskGenerator(**OPTIONS, seed=7).get_config()["seed"] == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_token_id": 1000}, "mask_token_id=1000 is not in the vocabulary, which has the ids"),
        ({"mask_token_id": -1}, "mask_token_id=-1 is not in the vocabulary"),
        ({"mask_selection_rate": 1.5}, r"mask_selection_rate must be between 0 and 1, got 1\.5"),
        ({"mask_token_rate": -0.1}, r"mask_token_rate must be between 0 and 1, got -0\.1"),
        ({"random_token_rate": 0.3}, r"mask_token_rate \+ random_token_rate must be between 0 and"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        MaskedLMMaskGenerator(**{**OPTIONS, **changes})
