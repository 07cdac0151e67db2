"""Training where a device computes while Python goes on: the same numbers, and what is set up."""

import threading

import keras
import numpy as np
import pytest

from clozework import backend
from clozework.tasks import packed_texts
from tests.unit.tasks.tiny_models import tiny_classifier, values

TEXTS = ["a", "heaven", "a b c", "earth", "heaven c", "b", "c c a b", "a earth"]
LABELS = [0, 1, 0, 1, 1, 0, 0, 1]

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="It is about JAX's trainer")


@pytest.fixture
def accelerator(monkeypatch):
    """A CPU that is taken for an accelerator."""
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: True)


@pytest.fixture
def gpu(monkeypatch):
    """A CPU that JAX takes for a GPU."""
    import jax

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    backend._knows_compiler_options.cache_clear()
    yield
    backend._knows_compiler_options.cache_clear()


def trained():
    """Returns a classifier after two epochs, and what `fit` said of them."""
    classifier = tiny_classifier()
    validation = (TEXTS[:3], LABELS[:3])
    history = classifier.fit(
        TEXTS, LABELS, batch_size=3, epochs=2, seed=1, validation_data=validation, verbose=0
    )
    return classifier, history.history


def assert_trained_alike(one, other):
    for name, figures in one[1].items():
        np.testing.assert_allclose(figures, other[1][name], rtol=0, atol=1e-5)
    for value, expected in zip(values(one[0]), values(other[0]), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)


def test_an_accelerator_is_trained_on_the_same_batches(monkeypatch):
    expected = trained()
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: True)
    assert_trained_alike(trained(), expected)


@pytest.mark.usefixtures("accelerator")
def test_an_accelerator_is_evaluated_on_the_same_batches(monkeypatch):
    classifier = tiny_classifier()
    ahead = classifier.evaluate(TEXTS, LABELS, batch_size=3, verbose=0)
    monkeypatch.setattr(packed_texts, "has_accelerator", lambda: False)
    expected = classifier.evaluate(TEXTS, LABELS, batch_size=3, verbose=0)
    np.testing.assert_allclose(ahead, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("accelerator")
def test_batches_are_made_ahead_for_an_accelerator(monkeypatch):
    classifier = tiny_classifier()
    make = classifier._training_batch
    threads = []

    def training_batch(*batch):
        threads.append(threading.current_thread().name)
        return make(*batch)

    monkeypatch.setattr(classifier, "_training_batch", training_batch)
    classifier.fit(TEXTS, LABELS, batch_size=3, verbose=0)
    assert "clozework-batches-ahead_0" in threads


@pytest.mark.usefixtures("accelerator")
def test_a_distribution_over_devices_has_no_batches_made_ahead(monkeypatch):
    monkeypatch.setattr(keras.distribution, "distribution", lambda: object())
    dataset = tiny_classifier()._dataset(TEXTS, LABELS)
    assert packed_texts.made_ahead(dataset) is dataset


@pytest.fixture
def options(monkeypatch):
    """What JAX's compiler is told of each function, by name."""
    import jax

    told = {}
    jit = jax.jit

    def noted(function, **kwargs):
        told[function.__name__] = kwargs.get("compiler_options")
        return jit(function, **kwargs)

    monkeypatch.setattr(jax, "jit", noted)
    return told


@on_jax
@pytest.mark.usefixtures("gpu")
def test_a_step_that_is_compiled_sooner_computes_the_same(options, monkeypatch):
    on_gpu = trained()
    assert options["train_step"] == {"xla_gpu_enable_triton_gemm": False}
    monkeypatch.undo()
    assert_trained_alike(on_gpu, trained())


@on_jax
@pytest.mark.parametrize("platform", ["gpu", "cpu"])
def test_predict_is_compiled_sooner_on_a_gpu(platform, options, request):
    if platform == "gpu":
        request.getfixturevalue("gpu")
    tiny_classifier().predict(TEXTS, verbose=0)
    expected = {"xla_gpu_enable_triton_gemm": False} if platform == "gpu" else None
    assert options["pure"] == expected


@on_jax
@pytest.mark.usefixtures("gpu")
def test_loops_are_compiled_as_usual(options):
    program = backend.compiled_program(
        lambda arrays: arrays["x"] + 1, read=lambda: (), changed=lambda: ()
    )
    assert int(program({"x": np.array(1)})) == 2
    assert options["pure"] is None


@on_jax
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("change", [{"run_eagerly": True}, {"jit_compile": False}])
def test_what_a_user_says_of_compilation_holds_on_a_gpu(change):
    classifier = tiny_classifier()
    classifier.compile(optimizer="adam", loss="mse", **change)
    assert backend.step_compiled_sooner(classifier) is None


@on_jax
@pytest.mark.usefixtures("gpu")
def test_options_that_the_compiler_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(backend, "_OPTIONS_ON_GPU", {"no_such_option": True})
    classifier = tiny_classifier()
    assert backend.step_compiled_sooner(classifier) is None
    assert classifier.predict(TEXTS, verbose=0).shape == (len(TEXTS), 2)


def test_a_step_is_compiled_as_usual_on_a_cpu():
    assert backend.step_compiled_sooner(tiny_classifier()) is None


@on_jax
def test_what_a_step_leaves_is_not_searched_for_layers():
    classifier = tiny_classifier()
    classifier.train_on_batch(TEXTS, LABELS)
    assert type(classifier._jax_state) is dict
    assert type(classifier._jax_state["trainable_variables"]) is list


@on_jax
def test_a_callback_can_ask_for_the_weights_after_each_step():
    def note(batch, logs):
        classifier.jax_state_sync()
        seen.append(values(classifier)[0])

    seen = []
    classifier = tiny_classifier()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    classifier.fit(TEXTS, LABELS, batch_size=4, verbose=0, callbacks=[callback])
    assert len(seen) == 2
    assert not np.array_equal(*seen)
