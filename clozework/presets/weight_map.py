"""Tables that say where each variable of a model lives in another library's checkpoint.

A table has one row a layer: our layer path on the left, their module path on the right, `{i}`
standing for the block index. What happens to the values follows from the kind of variable, so a
row is just two names. The few variables whose values must be computed get a `Computed` row.

Reading is total. A variable without a source, a tensor that no row asks for and a shape that does
not fit are all errors, and one message lists all of them.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from clozework.errors import WeightsError
from clozework.presets.stored_tensors import StoredTensor

__all__ = ["Computed", "HeadsFirst", "Layer", "WeightMap", "stored_shape"]

# Our variable name -> what PyTorch calls it. Checkpoints from before 2020 call the scale and offset
# of a layer normalisation gamma and beta.
_KINDS = {
    "kernel": ("weight",),
    "bias": ("bias",),
    "gamma": ("weight", "gamma"),
    "beta": ("bias", "beta"),
    "embeddings": ("weight",),
    "rel_embedding": ("weight",),
    "output_bias": ("bias",),
    "scale": ("weight",),
}


@dataclass(frozen=True)
class Layer:
    """All variables of the layer `ours` come from their module `theirs`.

    `theirs` may be several names, of which a checkpoint has one; writing uses the first. The
    variables of an `is_optional` layer keep their initial values where a checkpoint has none.
    """

    ours: str
    theirs: str | tuple[str, ...]
    is_optional: bool = False

    def matches(self, path: str) -> re.Match | None:
        layer, _, variable = path.rpartition("/")
        return _pattern(self.ours).fullmatch(layer) if variable in _KINDS else None

    @property
    def possible_names(self) -> tuple[str, ...]:
        """Patterns of all tensors that the row could read."""
        kinds = sorted({kind for names in _KINDS.values() for kind in names})
        return tuple(f"{module}.{kind}" for module in self.modules for kind in kinds)

    def sources(self, path: str, names: Iterable[str] = ()) -> list[str]:
        match = self.matches(path)
        groups = match.groupdict() if match else {}
        kinds = _KINDS[path.rpartition("/")[2]]
        candidates = [
            f"{module.format(**groups)}.{kind}" for module in self.modules for kind in kinds
        ]
        return [next((name for name in candidates if name in names), candidates[0])]

    def misfit(self, path: str, shape: Sequence[int], tensor: StoredTensor) -> str | None:
        expected = stored_shape(path, shape)
        return None if tensor.shape == expected else f"is {tensor.shape}, not {expected}"

    def read(self, path: str, shape: Sequence[int], tensor: StoredTensor) -> np.ndarray:
        # PyTorch stores (out, in), flat in the heads; Keras (in, heads, head_dim) and the like.
        values = tensor.read_turned() if _is_kernel(path) else tensor.read()
        return values.reshape(shape)

    def write(self, path: str, value: np.ndarray) -> dict[str, np.ndarray]:
        stored = stored_shape(path, value.shape)
        if _is_kernel(path):
            value = value.reshape(stored[::-1]).T
        return {self.sources(path)[0]: np.ascontiguousarray(value.reshape(stored))}

    def with_inputs_first(self, value: np.ndarray) -> np.ndarray:
        """Returns a kernel, or a factor of one, with its inputs in front of its heads; and back."""
        return value

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of their module, the one to be written first."""
        return (self.theirs,) if isinstance(self.theirs, str) else self.theirs


@dataclass(frozen=True)
class HeadsFirst(Layer):
    """A `Layer` whose kernel is `(heads, in, head_dim)`, which PyTorch stores as `(out, in)`."""

    def misfit(self, path: str, shape: Sequence[int], tensor: StoredTensor) -> str | None:
        heads, width, head_dim = shape
        expected = (heads * head_dim, width)
        return None if tensor.shape == expected else f"is {tensor.shape}, not {expected}"

    def read(self, path: str, shape: Sequence[int], tensor: StoredTensor) -> np.ndarray:
        heads, width, head_dim = shape
        return tensor.read().reshape(heads, head_dim, width).swapaxes(1, 2)

    def write(self, path: str, value: np.ndarray) -> dict[str, np.ndarray]:
        stored = np.ascontiguousarray(value.swapaxes(1, 2)).reshape(-1, value.shape[1])
        return {self.sources(path)[0]: stored}

    def with_inputs_first(self, value: np.ndarray) -> np.ndarray:
        return value.swapaxes(0, 1)


@dataclass(frozen=True)
class Computed:
    """The variable `ours` is a function of their tensors named `needs`, and they of it.

    Attributes:
        ours: Path of the variable.
        needs: Names of their tensors.
        read: Their tensors -> our value.
        write: Our value -> their tensors, in the order of `needs`.
    """

    ours: str
    needs: tuple[str, ...]
    read_values: Callable[..., np.ndarray]
    write_values: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    is_optional: bool = False

    def matches(self, path: str) -> re.Match | None:
        return _pattern(self.ours).fullmatch(path)

    @property
    def possible_names(self) -> tuple[str, ...]:
        """Names of all tensors that the row could read."""
        return self.needs

    def sources(self, path: str, names: Iterable[str] = ()) -> list[str]:
        return list(self.needs)

    def misfit(self, path: str, shape: Sequence[int], *tensors: StoredTensor) -> str | None:
        value = self.read(path, shape, *tensors)
        return None if value.shape == tuple(shape) else f"gives {value.shape}, not {tuple(shape)}"

    def read(self, path: str, shape: Sequence[int], *tensors: StoredTensor) -> np.ndarray:
        return self.read_values(*(tensor.read() for tensor in tensors))

    def write(self, path: str, value: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.needs, self.write_values(value), strict=True))


@dataclass(frozen=True)
class WeightMap:
    """The rows of a model.

    Attributes:
        rows: One for each layer, in any order; the first that matches a variable counts.
        unused: Patterns of tensors that a model has no use for, `{i}` standing for a number and
            `*` for anything.
    """

    rows: tuple[Layer | Computed, ...]
    unused: tuple[str, ...] = ()

    def read(
        self, shapes: Mapping[str, Sequence[int]], tensors: Mapping[str, StoredTensor], where: str
    ) -> dict[str, Callable[[], np.ndarray]]:
        """Returns by each variable's path what reads its value from a checkpoint.

        All is checked before that, so that no model is half filled, and next to nothing read.
        Variables of optional rows that the checkpoint lacks are left out.

        Args:
            shapes: Shape of each variable of the model, by path.
            tensors: Each tensor of the checkpoint, by name.
            where: Name of the checkpoint, for messages.

        Raises:
            WeightsError: If any variable, tensor or shape does not fit; it lists all misfits.
        """
        plan: list[tuple[str, Layer | Computed, list[str]]] = []
        misfits: list[str] = []
        asked_for: set[str] = set()
        for path in shapes:
            row = self._row(path)
            if row is None:
                misfits.append(f"variable {path!r} is in no row of the table")
                continue
            sources = row.sources(path, tensors)
            missing = [name for name in sources if name not in tensors]
            if not missing:
                plan.append((path, row, sources))
                asked_for.update(sources)
            elif not row.is_optional:
                misfits.append(f"variable {path!r} needs tensor {missing[0]!r}, which is absent")
        misfits += [
            f"tensor {name!r} is not used by any variable"
            for name in sorted(set(tensors) - asked_for)
            if not self._is_unused(name)
        ]
        for path, row, sources in plan:
            misfit = row.misfit(path, shapes[path], *(tensors[name] for name in sources))
            if misfit:
                misfits.append(f"tensor {sources[0]!r} for variable {path!r} {misfit}")
        if misfits:
            lines = "\n  ".join(misfits)
            raise WeightsError(
                f"The weights of {where} do not fit the model; {len(misfits)} misfits:\n  {lines}\n"
                f"Is it another kind of model, or are its config and weights from different ones?"
            )
        return {
            path: partial(row.read, path, shapes[path], *(tensors[name] for name in sources))
            for path, row, sources in plan
        }

    def write(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns their tensors for our values: the table read backwards."""
        tensors: dict[str, np.ndarray] = {}
        for path, value in values.items():
            row = self._row(path)
            if row is None:
                raise WeightsError(f"Variable {path!r} has no place in the exported format.")
            tensors.update(row.write(path, value))
        return tensors

    def layer_of(self, path: str) -> tuple[Layer, str] | None:
        """Returns the row of a kernel of ours, and their module whose weight it is, transposed.

        None for a variable that is stored in another form, or not at all.
        """
        row = self._row(path)
        if not isinstance(row, Layer):
            return None
        return row, row.sources(path)[0].removesuffix(".weight")

    def knows(self, name: str) -> bool:
        """Returns whether a tensor is read by a row or known to be unused."""
        read = (pattern for row in self.rows for pattern in row.possible_names)
        return any(_pattern(pattern).fullmatch(name) for pattern in (*read, *self.unused))

    def _row(self, path: str) -> Layer | Computed | None:
        return next((row for row in self.rows if row.matches(path)), None)

    def _is_unused(self, name: str) -> bool:
        return any(_pattern(pattern).fullmatch(name) for pattern in self.unused)


def _is_kernel(path: str) -> bool:
    return path.endswith("/kernel")


def stored_shape(path: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape of our variable in PyTorch: `(out, in)` for kernels, flat in the heads."""
    if _is_kernel(path):
        # The output projection of attention takes (heads, head_dim); every other kernel one axis.
        num_inputs = 2 if path.endswith("/attention_output/kernel") and len(shape) == 3 else 1
        return math.prod(shape[num_inputs:]), math.prod(shape[:num_inputs])
    if path.endswith("/bias"):
        return (math.prod(shape),)
    return tuple(shape)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Compiles a name so that `{i}` and `{j}` match numbers and `*` anything."""
    escaped = re.sub(r"\\{([ij])\\}", r"(?P<\1>\\d+)", re.escape(template))
    return re.compile(escaped.replace(r"\*", ".*"))
