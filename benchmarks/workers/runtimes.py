"""Classifiers on ONNX Runtime, OpenVINO and CTranslate2."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.workers.padded_batches import padded_runner, read_texts, tokenizer_of

__all__ = [
    "ctranslate2_classifier",
    "generation",
    "onnxruntime_classifier",
    "openvino_classifier",
]


def onnxruntime_classifier(settings: dict) -> Callable[[], np.ndarray]:
    """Runs an ONNX graph, optimised when it is loaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(f"{settings['graph']}/model.onnx", options)

    def forward(ids, mask):
        return session.run(["logits"], {"token_ids": ids, "padding_mask": mask})[0]

    return padded_runner(settings, forward)


def openvino_classifier(settings: dict) -> Callable[[], np.ndarray]:
    """Runs a graph of OpenVINO; `precision` is that of its products, `f32` or `bf16`."""
    import openvino

    compiled = openvino.Core().compile_model(
        f"{settings['graph']}/model.xml",
        "CPU",
        {"INFERENCE_PRECISION_HINT": settings["precision"], "PERFORMANCE_HINT": "LATENCY"},
    )
    request = compiled.create_infer_request()

    def forward(ids, mask):
        return np.array(request.infer([ids, mask])[compiled.output(0)])

    return padded_runner(settings, forward)


def ctranslate2_classifier(settings: dict) -> Callable[[], np.ndarray]:
    """Runs RoBERTa's encoder; the head, which reads one vector a text, is computed by NumPy."""
    import ctranslate2

    encoder = ctranslate2.Encoder(
        settings["graph"],
        device="cpu",
        compute_type=settings["precision"],
        intra_threads=os.cpu_count() or 1,
    )
    head = _head_of(settings["model"])

    def forward(ids, mask):
        rows = [row[:length].tolist() for row, length in zip(ids, mask.sum(axis=1), strict=True)]
        vectors = np.array(encoder.forward_batch(rows).last_hidden_state)
        return head(vectors[:, 0])

    return padded_runner(settings, forward)


def generation(settings: dict) -> Callable[[], np.ndarray]:
    """CTranslate2's search, to a fixed number of tokens."""
    import ctranslate2

    threads = os.cpu_count() or 1
    translator = ctranslate2.Translator(
        settings["graph"], device="cpu", compute_type="float32", intra_threads=threads
    )
    tokenizer = tokenizer_of(settings["model"])
    texts = read_texts(settings)
    # That which the decoder is told to begin with counts.
    num_tokens = settings["num_tokens"] + 1

    def run() -> np.ndarray:
        results = translator.translate_batch(
            [row.tokens for row in tokenizer.encode_batch(texts)],
            target_prefix=[["<s>"]] * len(texts),
            beam_size=settings["num_beams"],
            min_decoding_length=num_tokens,
            max_decoding_length=num_tokens,
        )
        ids = [[tokenizer.token_to_id(t) for t in result.hypotheses[0]] for result in results]
        return np.array(tokenizer.decode_batch(ids))

    return run


def _head_of(model: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns RoBERTa's classification head, from the checkpoint's own file."""
    from safetensors.numpy import load_file

    config = json.loads(Path(model, "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "roberta"
    tensors = load_file(f"{model}/model.safetensors")
    kernels = [tensors[f"classifier.{layer}.weight"].T for layer in ("dense", "out_proj")]
    biases = [tensors[f"classifier.{layer}.bias"] for layer in ("dense", "out_proj")]
    return lambda x: np.tanh(x @ kernels[0] + biases[0]) @ kernels[1] + biases[1]
