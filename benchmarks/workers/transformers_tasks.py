"""What is measured of `transformers`."""

from collections.abc import Callable

import numpy as np
import torch
import transformers

from benchmarks.workers.padded_batches import padded_runner, read_texts

__all__ = ["classifier", "pipeline"]

transformers.utils.logging.set_verbosity_error()


def pipeline(settings: dict) -> Callable[[], np.ndarray]:
    """`transformers.pipeline` with its defaults, batches of 32 texts as they come."""
    classify = transformers.pipeline(
        "text-classification",
        model=settings["model"],
        batch_size=32,
        device="cpu",
        top_k=None,
        function_to_apply="none",
    )
    texts = read_texts(settings)

    def run() -> np.ndarray:
        found = classify(texts, truncation=True, max_length=512)
        by_name = [{label["label"]: label["score"] for label in labels} for labels in found]
        return np.array([[row[name] for name in sorted(row)] for row in by_name], "float32")

    return run


def classifier(settings: dict) -> Callable[[], np.ndarray]:
    """The model itself, on padded batches; `dtype` is that of its weights."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        settings["model"], dtype=settings["dtype"]
    ).eval()
    compute = torch.compile(model, dynamic=True) if settings["is_compiled"] else model

    def forward(ids, mask):
        with torch.inference_mode():
            outputs = compute(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            )
        return outputs.logits.float().numpy()

    return padded_runner(settings, forward)
