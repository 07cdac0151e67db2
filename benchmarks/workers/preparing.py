"""Writes models in the formats of all peers; each job ends when that is done."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

__all__ = [
    "ctranslate2_model",
    "keras_hub_model",
    "onnx_model",
    "openvino_int8_model",
    "openvino_model",
    "transformers_model",
]

_NUM_CLASSES = 4


def transformers_model(settings: dict) -> None:
    """Writes random weights and a tokenizer in Hugging Face's format."""
    import torch
    import transformers

    torch.manual_seed(0)
    architecture = getattr(transformers, settings["architecture"])
    config = architecture.config_class(**settings["config"], num_labels=_NUM_CLASSES)
    architecture(config).save_pretrained(settings["target"])
    tokenizer_class = getattr(transformers, settings["tokenizer"])
    with tempfile.TemporaryDirectory() as directory:
        for file in settings["files"]:
            shutil.copy(file, directory)
        tokenizer = tokenizer_class.from_pretrained(directory, model_max_length=512)
    tokenizer.save_pretrained(settings["target"])


def keras_hub_model(settings: dict) -> None:
    """Writes KerasHub's format."""
    from clozework import models

    # Any task of the checkpoint's own kind.
    is_generator = "ForConditionalGeneration" in _config_text(settings)
    task = models.Seq2SeqLM if is_generator else models.TextClassifier
    task.from_preset(settings["source"]).save_to_preset(f"{settings['target']}/preset")


def _config_text(settings: dict) -> str:
    return Path(settings["source"], "config.json").read_text(encoding="utf-8")


def onnx_model(settings: dict) -> None:
    """Writes a classifier as an ONNX graph of any batch and length."""
    import torch

    example = _example()
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=512)
    shape = {0: batch, 1: tokens}
    torch.onnx.export(
        _logits_only(settings["source"]),
        example,
        f"{settings['target']}/model.onnx",
        input_names=["token_ids", "padding_mask"],
        output_names=["logits"],
        dynamic_shapes=(shape, shape),
        dynamo=True,
    )


def openvino_model(settings: dict) -> None:
    """Writes a classifier in OpenVINO's format, with float32 weights."""
    import openvino

    openvino.save_model(
        _openvino_graph(settings["source"]),
        f"{settings['target']}/model.xml",
        compress_to_fp16=False,
    )


def openvino_int8_model(settings: dict) -> None:
    """Writes a classifier for OpenVINO with 8-bit products, calibrated on random tokens."""
    import nncf
    import openvino

    random = np.random.default_rng(0)
    rows = [random.integers(4, 50000, (1, 64)) for _ in range(32)]
    quantized = nncf.quantize(
        _openvino_graph(settings["source"]),
        nncf.Dataset(rows, lambda row: {0: row, 1: np.ones_like(row)}),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
    )
    openvino.save_model(quantized, f"{settings['target']}/model.xml", compress_to_fp16=False)


def ctranslate2_model(settings: dict) -> None:
    """Writes CTranslate2's format, with float32 weights; others are made when it is loaded."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(settings["source"]).convert(settings["target"], force=True)


def _openvino_graph(source: str):
    import openvino

    graph = openvino.convert_model(_logits_only(source), example_input=_example())
    for graph_input in graph.inputs:
        graph_input.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    graph.validate_nodes_and_infer_types()
    return graph


def _logits_only(source: str):
    """Returns a module from token ids and a padding mask to logits."""
    import torch
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModelForSequenceClassification.from_pretrained(source)

        def forward(self, token_ids, padding_mask):
            return self.model(input_ids=token_ids, attention_mask=padding_mask).logits

    return Logits().eval()


def _example() -> tuple:
    import torch

    # No size of one, which an exporter would take for a constant.
    ids = torch.arange(4, 4 + 2 * 24).reshape(2, 24)
    mask = torch.ones_like(ids)
    mask[1, 12:] = 0
    return ids, mask
