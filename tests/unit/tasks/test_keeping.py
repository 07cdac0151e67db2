"""Models that are stored and loaded: what comes along, what is left."""

import h5py
import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, PresetError
from tests.unit.tasks.tiny_models import tiny_classifier, tiny_masked_lm, values

TEXTS = ["a b", "b c", "heaven", "earth a"]
NAMES = ["calm", "storm", "calm", "storm"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier after two steps, and where it is stored in both of Keras's ways."""
    directory = tmp_path_factory.mktemp("trained")
    classifier = tiny_classifier()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    classifier.compile(keras.optimizers.Adam(0.01), loss)
    classifier.fit(TEXTS, NAMES, epochs=2, verbose=0)
    classifier.save(directory / "model.keras")
    classifier.save_to_preset(directory / "preset")
    return classifier, directory


def test_a_preset_holds_no_moments_of_the_optimizer(trained):
    classifier, directory = trained
    with h5py.File(directory / "preset" / "task.weights.h5") as file:
        datasets = []
        file.visititems(lambda name, _: datasets.append(name) if is_dataset(file, name) else None)
    assert len(datasets) == len(classifier.head_variables()) == 2
    untrained = tiny_classifier()
    untrained.save_to_preset(directory / "untrained")
    for name in ("task.weights.h5", "model.weights.h5"):
        sizes = [(directory / kind / name).stat().st_size for kind in ("preset", "untrained")]
        assert sizes[0] == sizes[1]


def test_a_keras_file_keeps_how_it_was_compiled(trained):
    classifier, directory = trained
    restored = keras.saving.load_model(directory / "model.keras")
    assert restored.compiled
    assert restored.get_compile_config() == classifier.get_compile_config()
    assert restored.label_names == ["calm", "storm"]
    assert float(restored.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_keras_file_keeps_the_optimizer(trained):
    classifier, directory = trained
    restored = keras.saving.load_model(directory / "model.keras")
    assert int(restored.optimizer.iterations) == 2
    pairs = zip(restored.optimizer.variables, classifier.optimizer.variables, strict=True)
    for variable, expected in pairs:
        np.testing.assert_array_equal(numpy(variable), numpy(expected))


def test_a_restored_model_trains_on_as_the_original(trained):
    classifier, directory = trained
    restored = keras.saving.load_model(directory / "model.keras")
    twin = keras.saving.load_model(directory / "model.keras")
    np.testing.assert_array_equal(
        restored.predict(TEXTS, verbose=0), classifier.predict(TEXTS, verbose=0)
    )
    losses = [
        model.fit(TEXTS, NAMES, shuffle=False, verbose=0).history["loss"]
        for model in (restored, twin)
    ]
    assert losses[0] == losses[1]
    assert any((a != b).any() for a, b in zip(values(restored), values(classifier), strict=True))


def test_a_masked_lm_comes_back_from_a_keras_file(tmp_path):
    masked_lm = tiny_masked_lm()
    masked_lm.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    expected = masked_lm.predict(["a [MASK]"], verbose=0)
    np.testing.assert_array_equal(restored.predict(["a [MASK]"], verbose=0), expected)
    restored.fit(TEXTS, verbose=0)
    assert restored.fill("a [MASK]").masks


def test_a_model_without_preprocessor_comes_back(tmp_path):
    classifier = tiny_classifier(preprocessor=None)
    classifier.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").preprocessor is None


def test_a_masked_lm_from_a_classifier_takes_its_lengths(tmp_path):
    classifier = tiny_classifier(preprocessor=None)
    classifier.save_to_preset(tmp_path / "preset")
    tiny_masked_lm().preprocessor.tokenizer.save_to_preset(tmp_path / "preset")
    with pytest.warns(ClozeworkWarning, match="has no head for BertMaskedLM; it is random"):
        masked_lm = models.MaskedLM.from_preset(tmp_path / "preset")
    assert masked_lm.preprocessor.sequence_length == 16
    assert masked_lm.predict(["a [MASK]"], verbose=0).shape == (1, 1, 11)


def test_a_new_head_needs_a_number_of_classes(tmp_path):
    tiny_masked_lm().save_to_preset(tmp_path / "preset")
    expected = r"BertTextClassifier.from_preset needs `num_classes`: .* holds no such head"
    with pytest.raises(ConfigError, match=expected):
        models.TextClassifier.from_preset(tmp_path / "preset")


def test_a_task_without_a_tokenizer_can_be_random_only(tmp_path):
    masked_lm = tiny_masked_lm(preprocessor=None)
    masked_lm.save_to_preset(tmp_path / "preset")
    with pytest.raises(PresetError, match="has no tokenizer. Pass `preprocessor=None`"):
        models.MaskedLM.from_preset(tmp_path / "preset")
    with pytest.warns(ClozeworkWarning, match="BertMaskedLM has no preprocessor, as the tokenizer"):
        random = models.MaskedLM.from_preset(tmp_path / "preset", load_weights=False)
    assert random.preprocessor is None


def test_a_preset_of_another_kind_is_refused(trained):
    _, directory = trained
    expected = "holds a BertBackbone, which is no RobertaBackbone"
    with pytest.raises(PresetError, match=expected):
        models.RobertaBackbone.from_preset(directory / "preset")
    with pytest.raises(PresetError, match="for which there is no RobertaMaskedLM. Classes of its"):
        models.RobertaMaskedLM.from_preset(directory / "preset")


def test_a_preset_that_says_no_task_is_refused_where_there_are_several(tmp_path):
    tiny_masked_lm().backbone.save_to_preset(tmp_path / "preset")
    with pytest.raises(PresetError, match="does not say which Task it is. Use one of: BertMasked"):
        models.Task.from_preset(tmp_path / "preset")


def test_an_unknown_argument_of_a_preset_is_named(trained):
    _, directory = trained
    expected = r"BertTextClassifier has no argument 'num_clases' \(did you mean 'num_classes'\?\)"
    with pytest.raises(ConfigError, match=expected):
        models.TextClassifier.from_preset(directory / "preset", num_clases=3)


def is_dataset(file, name) -> bool:
    return isinstance(file[name], h5py.Dataset)


def numpy(variable):
    return keras.ops.convert_to_numpy(variable.value)
