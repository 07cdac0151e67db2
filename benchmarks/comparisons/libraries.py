"""The libraries that are compared: where they are installed, and the module of their jobs."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Job

__all__ = [
    "CLOZEWORK",
    "CLOZEWORK_ON_OPENVINO",
    "CLOZEWORK_ON_TORCH",
    "KERAS_HUB",
    "TRANSFORMERS",
    "Library",
]


@dataclass(frozen=True)
class Library:
    """A library in an environment of its own.

    Attributes:
        environment: Name of a file in `requirements/`.
        module: In `benchmarks.workers`.
        packages: Whose versions are recorded.
        variables: Environment variables.
    """

    environment: str
    module: str
    packages: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    def job(self, function: str, settings: dict[str, Any]) -> Job:
        """Returns a job of one of the module's functions."""
        return Job(
            self.environment, f"{self.module}:{function}", settings, self.packages, self.variables
        )


CLOZEWORK = Library("clozework", "clozework_tasks", ("keras", "jax"), {"KERAS_BACKEND": "jax"})
CLOZEWORK_ON_TORCH = Library(
    "clozework_torch", "clozework_tasks", ("keras", "torch"), {"KERAS_BACKEND": "torch"}
)
CLOZEWORK_ON_OPENVINO = Library(
    "clozework_openvino", "clozework_tasks", ("keras", "openvino"), {"KERAS_BACKEND": "openvino"}
)
KERAS_HUB = Library(
    "keras_hub", "keras_hub_tasks", ("keras-hub", "keras", "jax"), {"KERAS_BACKEND": "jax"}
)
TRANSFORMERS = Library("transformers", "transformers_tasks", ("transformers", "torch"))
