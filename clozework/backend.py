"""What depends on the backend that Keras has; `chosen_backend` says which one it gets.

What is computed differently stands in `kernels`.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any

from clozework import traced_layers
from clozework.caches import cache_directory
from clozework.errors import ConfigError
from clozework.openvino_graphs import OpenVINOGraphs, openvino_constant

__all__ = [
    "allocate_variables",
    "check_can_train",
    "compiled_program",
    "computed_once",
    "configure_backend",
    "custom_gradient",
    "fill_variable",
    "has_accelerator",
    "known_values",
    "own_attributes",
    "random_states",
    "set_random_states",
    "shared_traces",
    "step_compiled_sooner",
    "tokens_at_once",
    "unallocated_variables",
    "unused_weights_allowed",
    "values_kept",
    "while_loop",
]

# As measured: vectors of more tokens fall out of the caches of a CPU, fewer leave a GPU idle.
# Python tells PyTorch of each operation, which takes longer than a GPU needs for few tokens.
_TOKENS_ON_CPU = 1024
_TOKENS_ON_GPU = {"jax": 16384, "torch": 65536}
# XLA would try Triton's kernels beside cuBLAS's for each product. On an H200 it takes 30 s for one
# step of training of RoBERTa-base, and 17 without them, for steps that are as fast; `predict` is
# ready in half the time as well.
_OPTIONS_ON_GPU = {"xla_gpu_enable_triton_gemm": False}


def configure_backend() -> None:
    """Turns on JAX's cache of compiled programs, so that the second start is fast.

    To be called after Keras is imported and before anything is computed; a cache directory that
    the user has set stays.
    """
    import keras

    if keras.backend.backend() != "jax":
        return
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        directory = cache_directory() / "jax"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            # A read-only home. JAX would warn at each program that it cannot keep.
            return
        jax.config.update("jax_compilation_cache_dir", str(directory))
        # The default of one second would leave out most of the many small programs of a start.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def check_can_train() -> None:
    """Raises `ConfigError` on a backend that computes no gradients."""
    import keras

    backend = keras.backend.backend()
    if backend in ("openvino", "numpy"):
        raise ConfigError(
            f"The backend {backend!r} computes answers but trains nothing. Train in a process with "
            f"the environment variable KERAS_BACKEND=jax, or torch."
        )


def known_values(x):
    """Returns the values of a tensor as a NumPy array, or None where they are not known yet.

    They are not known of a symbolic input, nor of any tensor while a program is being compiled.
    """
    import keras
    import numpy as np

    if isinstance(x, np.ndarray):
        return x
    if keras.backend.is_keras_tensor(x):
        return None
    if keras.backend.backend() == "jax":
        import jax

        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)
    if keras.backend.backend() == "torch":
        import torch

        # Meta tensors stand for values while Keras works out shapes.
        if torch.compiler.is_compiling() or (isinstance(x, torch.Tensor) and x.is_meta):
            return None
    if keras.backend.backend() == "openvino" and keras.ops.is_tensor(x):
        # A node of a graph, which may depend on inputs.
        is_constant = x.output.get_node().get_type_name() == "Constant"
        return keras.ops.convert_to_numpy(x) if is_constant else None
    return keras.ops.convert_to_numpy(x)


@contextlib.contextmanager
def unallocated_variables():
    """Within it, new models have variables with shapes but without memory or random numbers.

    They get values from `fill_variable`, or the usual initial ones from `allocate_variables`. Keras
    defers variables in a stateless scope; on leaving the next one it would initialise all that it
    has noted, so the note is withdrawn.
    """
    import keras
    from keras.src.backend.common import global_state

    noted = list(global_state.get_global_attribute("uninitialized_variables") or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", noted)


def fill_variable(variable, value) -> None:
    """Gives a variable its value, whether it has memory yet or not."""
    import keras

    if variable._value is not None:
        variable.assign(value)
        return
    is_openvino = keras.backend.backend() == "openvino"
    tensor = openvino_constant if is_openvino else keras.ops.convert_to_tensor
    usual = variable._initializer
    variable._initializer = lambda shape, dtype: tensor(value, dtype)
    variable._deferred_initialize()
    # The value would be kept in memory a second time.
    variable._initializer = usual


def allocate_variables(model) -> None:
    """Gives the usual initial values to the variables of a model that have none."""
    for variable in model.variables:
        if variable._value is None:
            variable._deferred_initialize()


def compiled_program(function, *, read, changed, open_axes=0) -> Callable[..., Any]:
    """Returns `program(arrays, **options)`, which computes `function(arrays, **options)`.

    JAX compiles it once for each shape of the arrays and each choice of options, which can be
    hashed; weights are handed to the program, so that it holds none. OpenVINO compiles functions
    of rows, with their weights. Else it is run as it is, on PyTorch without gradients.

    Args:
        function: Takes a dict of arrays; its variables are those below.
        read, changed: Functions that return the variables it reads, and those it assigns.
        open_axes: How many of the first axes of all arrays may have any length: 1 for rows, 2 for
            rows and tokens; 0 as well for what has a loop, changes something or draws random
            numbers.
    """
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(function)
    if keras.backend.backend() == "openvino" and open_axes:
        return OpenVINOGraphs(function, read, open_axes=open_axes)
    if keras.backend.backend() != "jax":
        return function
    import jax

    def pure(read_values, changed_values, arrays, options):
        variables, values = [*read(), *changed()], [*read_values, *changed_values]
        pairs = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs) as scope:
            outputs = function(arrays, **dict(options))
        return outputs, [scope.get_current_value(variable) for variable in changed()]

    @functools.cache
    def compiled():
        # What loops need of a compiler was not measured.
        options = _options_on_one_gpu() if open_axes else {}
        return jax.jit(pure, static_argnames="options", **options)

    def program(arrays, **options):
        read_values = [variable.value for variable in read()]
        changed_values = [variable.value for variable in changed()]
        outputs, values = compiled()(
            read_values, changed_values, arrays, options=tuple(sorted(options.items()))
        )
        for variable, value in zip(changed(), values, strict=True):
            variable.assign(value)
        return outputs

    return program


def step_compiled_sooner(model):
    """Returns a step of training that JAX compiles for one GPU in about half the time, or None.

    None stands for a step as Keras's trainer compiles it, which has no options for that.
    """
    import keras

    if keras.backend.backend() != "jax":
        return None
    import jax

    is_usual = model.jit_compile and not model.run_eagerly and not keras.config.is_nnx_enabled()
    options = _options_on_one_gpu() if is_usual else {}
    return jax.jit(model.train_step, donate_argnums=0, **options) if options else None


def _options_on_one_gpu() -> dict[str, Any]:
    """Returns arguments of `jax.jit` by which it compiles sooner for one GPU; none elsewhere."""
    import jax
    import keras

    options = _OPTIONS_ON_GPU
    is_on_one_gpu = jax.default_backend() == "gpu" and keras.distribution.distribution() is None
    if not (is_on_one_gpu and _knows_compiler_options(tuple(options.items()))):
        return {}
    return {"compiler_options": options}


@functools.cache
def _knows_compiler_options(options: tuple[tuple[str, Any], ...]) -> bool:
    """Whether JAX takes options for one program, and its compiler knows these: they come and go."""
    import jax

    try:
        jax.jit(lambda x: x, compiler_options=dict(options))(0)
    except (TypeError, jax.errors.JaxRuntimeError):
        return False
    return True


def num_open_axes() -> int:
    """Returns how many axes of `(rows, tokens)` may have another length without a compilation.

    2 with PyTorch, which runs one operation after another; 0 with JAX, which keeps a program for
    each shape; 1 with OpenVINO: when a model is evaluated, Keras keeps one program, for any number
    of rows of one length:
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/backend/openvino/trainer.py
    """
    import keras

    return {"torch": 2, "openvino": 1}.get(keras.backend.backend(), 0)


def shared_traces():
    """Returns the context of `traced_layers` on JAX; elsewhere there is nothing to trace."""
    import keras

    is_jax = keras.backend.backend() == "jax"
    return traced_layers.shared_traces() if is_jax else contextlib.nullcontext()


def custom_gradient(function):
    """Returns `keras.ops.custom_gradient(function)`; OpenVINO has no gradients, and warns."""
    import keras

    if keras.backend.backend() == "openvino":
        return lambda *args: function(*args)[0]
    return keras.ops.custom_gradient(function)


def computed_once(tree):
    """Returns a structure of tensors that a loop reads, and that are not to be computed in it.

    XLA moves a transposition into a loop, as memory is saved by that, and does it again and again:
    https://github.com/openxla/xla/blob/main/xla/service/while_loop_fusible_sinking.h
    """
    import keras

    if keras.backend.backend() != "jax":
        return tree
    import jax

    return jax.lax.optimization_barrier(tree)


def tokens_at_once() -> int:
    """Returns how many tokens keep the machine busy: with more, only the memory grows."""
    import keras

    return _TOKENS_ON_GPU[keras.backend.backend()] if has_accelerator() else _TOKENS_ON_CPU


def has_accelerator() -> bool:
    """Returns whether another device than the CPU computes, while Python goes on."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.is_available()
    return False


def while_loop(cond, body, loop_vars, *, maximum_iterations=None, changed=(), read=()):
    """Repeats `body` while `cond` holds, as `keras.ops.while_loop`.

    JAX traces the body once: what it changes in variables has to go from turn to turn as a value,
    and a scope that catches the changes hides the values of the scope around it.

    Args:
        cond, body, loop_vars, maximum_iterations: As in `keras.ops.while_loop`.
        changed: Variables that the body assigns, such as the state of random numbers.
        read: Variables that it reads, if they may have other values in a scope around this.
    """
    import keras

    if keras.backend.backend() == "openvino":
        return _loop_of_tensors(cond, body, loop_vars, maximum_iterations)
    if keras.backend.backend() != "jax" or not changed:
        return keras.ops.while_loop(cond, body, loop_vars, maximum_iterations)
    constants = [(variable, variable.value) for variable in read]
    constants = [(v, value) for v, value in constants if not any(v is other for other in changed)]

    def scoped_body(values, loop_vars):
        pairs = [*constants, *zip(changed, values, strict=True)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            loop_vars = body(*loop_vars)
        return [scope.get_current_value(variable) for variable in changed], tuple(loop_vars)

    values, loop_vars = keras.ops.while_loop(
        lambda values, loop_vars: cond(*loop_vars),
        scoped_body,
        ([variable.value for variable in changed], tuple(loop_vars)),
        maximum_iterations,
    )
    for variable, value in zip(changed, values, strict=True):
        variable.assign(value)
    return loop_vars


def _loop_of_tensors(cond, body, loop_vars, maximum_iterations):
    """Repeats `body` with a flat list of tensors: OpenVINO's loop forgets what tuples are named."""
    import keras

    def packed(tensors):
        return keras.tree.pack_sequence_as(tuple(loop_vars), list(tensors))

    tensors = keras.ops.while_loop(
        lambda *tensors: cond(*packed(tensors)),
        lambda *tensors: tuple(keras.tree.flatten(tuple(body(*packed(tensors))))),
        tuple(keras.tree.flatten(tuple(loop_vars))),
        maximum_iterations,
    )
    return packed(tensors)


def own_attributes(layer) -> dict:
    """Returns the attributes that were set on a layer, by name.

    A layer is a module of PyTorch there, which keeps modules within it apart from the rest.
    """
    import keras

    modules = layer._modules if keras.backend.backend() == "torch" else {}
    return {**vars(layer), **modules}


def random_states() -> list:
    """Returns the states of the random numbers that no variable holds, as arrays.

    PyTorch draws dropout from generators of its own, one for each device.
    """
    import keras

    if keras.backend.backend() != "torch":
        return []
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy() for state in states]


def set_random_states(states) -> None:
    """Sets what `random_states` returned, perhaps on a machine with other devices."""
    import keras

    if keras.backend.backend() != "torch" or not states:
        return
    import torch

    of_cpu, *of_devices = (torch.from_numpy(state.copy()) for state in states)
    torch.set_rng_state(of_cpu)
    if torch.cuda.is_available() and len(of_devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(of_devices)


@contextlib.contextmanager
def values_kept(model):
    """Within it, a model that is trained or used keeps its weights when an error ends that.

    Keras's JAX trainer takes the values out of the variables while it runs and puts them back at
    the end; an error from the data, or an interrupt, would leave the model without weights:
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/backend/jax/trainer.py
    """
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    before = {id(variable): variable._value for variable in _trainer_variables(model)}
    if getattr(model, "_jax_state_synced", False):
        # `predict_on_batch` leaves behind what it had, which other programs may have used up since.
        model._jax_state = None
    try:
        yield
    except BaseException:
        if getattr(model, "_jax_state", None):
            model.jax_state_sync()
            model._jax_state = None
        for variable in _trainer_variables(model):
            if variable._value is None:
                value = before.get(id(variable))
                # What was made on the way, moments and metrics, starts at zero.
                if value is None:
                    value = keras.ops.zeros(variable.shape, variable.dtype)
                variable._value = value
        raise


@contextlib.contextmanager
def unused_weights_allowed():
    """Within it, no backend warns of weights that the loss does not depend on.

    A masked LM of BERT has a pooler that it does not use. On PyTorch Keras would ask whether the
    loss was forgotten; on JAX such gradients are zero:
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/optimizers/base_optimizer.py
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        yield


def _trainer_variables(model) -> list:
    optimizer = getattr(model, "optimizer", None)
    of_optimizer = optimizer.variables if optimizer is not None else []
    return [*model.variables, *of_optimizer, *model.metrics_variables]
