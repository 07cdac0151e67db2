"""Run by KerasHub's interpreter: what it computes for presets that Clozework saved, and back.

For every preset in a folder, writes beside it what KerasHub gives for its `inputs.npz` and
`texts.json`; then gives the model other random weights and saves it as a preset of KerasHub's own.

    python keras_hub_outputs.py FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import keras
import keras_hub
import numpy as np

BASES = ("CausalLM", "MaskedLM", "Seq2SeqLM", "TextClassifier", "TextEmbedder")
MAX_LENGTH = 12


def outputs_of(model, inputs):
    outputs = model(inputs)
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


def write_outputs(task, inputs, path):
    of_backbone = outputs_of(task.backbone, {name: inputs[name] for name in task.backbone.input})
    named = {f"backbone.{name}": value for name, value in of_backbone.items()}
    np.savez(path, task=outputs_of(task, inputs)["output"], **named)


def randomise(model):
    generator = np.random.default_rng(11)
    for variable in model.weights:
        variable.assign(generator.normal(scale=0.3, size=variable.shape))


def main(folder):
    # Keras's way of saying that some weights are not loaded.
    warnings.filterwarnings("error", category=UserWarning)
    # KerasHub stores the optimizer of a task, but does not load it either.
    warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        kind = next(base for base in BASES if directory.name.endswith(base))
        preset = str(directory / "ours")
        inputs = dict(np.load(directory / "inputs.npz"))
        task = getattr(keras_hub.models, kind).from_preset(preset)
        write_outputs(task, inputs, directory / "keras_hub_of_ours.npz")
        texts = json.loads((directory / "texts.json").read_text())
        tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(preset)
        backbone = keras_hub.models.Backbone.from_preset(preset)
        answers = {
            "class": type(task).__name__,
            "backbone_class": type(backbone).__name__,
            "sequence_length": task.preprocessor.sequence_length,
            "token_ids": [np.asarray(tokenizer(text)).tolist() for text in texts],
        }
        if kind == "CausalLM":
            answers["generated"] = task.generate(texts, max_length=MAX_LENGTH)
        (directory / "keras_hub.json").write_text(json.dumps(answers))
        randomise(task)
        task.save_to_preset(str(directory / "theirs"))
        write_outputs(task, inputs, directory / "keras_hub_of_theirs.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
