"""What tasks of all families predict on the backend that there is, as `python -m` writes it."""

import sys

import keras
import numpy as np

from clozework.tasks.packed_texts import outputs_of_texts
from tests.contract.families import TASKS, family_of_task, task_inputs, task_labels, tiny_task

KINDS = ("MaskedLM", "TextClassifier", "TextEmbedder", "TokenClassifier", "QuestionAnswerer")
QUANTIZED = ("DebertaV3TextClassifier", "RobertaTextClassifier")


def chosen_tasks() -> list[type]:
    """Returns the classifiers of all families, and tasks of all other kinds."""
    return [
        task_cls
        for task_cls in TASKS.values()
        if task_cls.kind in KINDS
        and (task_cls.kind == "TextClassifier" or family_of_task(task_cls).name == "roberta")
    ]


def predicted() -> dict[str, np.ndarray]:
    """Returns outputs by the name of a task and of how its texts were given."""
    found = {"backend": np.array(keras.backend.backend())}
    for task_cls in chosen_tasks():
        name = task_cls.__name__
        task = tiny_task(task_cls, preprocessor=None)
        found |= _outputs(task, name)
        scores = task.evaluate(task_inputs(task_cls), task_labels(task_cls), verbose=0)
        found[f"{name}, evaluated"] = np.array(scores)
        # One row where there were two, and weights that were assigned since.
        task.backbone.set_weights([weight / 2 for weight in task.backbone.get_weights()])
        found |= _outputs(task, f"{name}, other weights", rows=1)
        if name in QUANTIZED:
            task.quantize("int8")
            found |= _outputs(task, f"{name}, int8")
    for mode in ("mean", "max", "lasttoken"):
        task = tiny_task(TASKS["RobertaTextEmbedder"], preprocessor=None, pooling_mode=mode)
        found |= _outputs(task, f"pooling by {mode}")
    return found


def _outputs(task, name: str, rows: int = 2) -> dict[str, np.ndarray]:
    inputs = {key: values[:rows] for key, values in task_inputs(type(task)).items()}
    outputs = keras.tree.flatten(task.predict(inputs, verbose=0))
    found = {f"{name}, padded, {i}": output for i, output in enumerate(outputs)}
    if task.packs_texts:
        packed = outputs_of_texts(task, inputs, None)
        found |= {f"{name}, packed, {i}": output for i, output in enumerate(packed)}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **predicted())
