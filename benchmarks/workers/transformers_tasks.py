"""What is measured of `transformers`."""

from collections.abc import Callable

import numpy as np
import torch
import transformers

from benchmarks.workers.padded_batches import batches_of, padded_runner, read_texts

__all__ = ["classifier", "generation", "pipeline", "tokenizer", "training"]

transformers.utils.logging.set_verbosity_error()


def pipeline(settings: dict) -> Callable[[], np.ndarray]:
    """`transformers.pipeline` with its defaults, batches of 32 texts as they come."""
    classify = transformers.pipeline(
        "text-classification",
        model=settings["model"],
        batch_size=32,
        device=settings.get("device", "cpu"),
        dtype=settings["dtype"],
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
    device = settings.get("device", "cpu")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        settings["model"], dtype=settings["dtype"]
    )
    model = model.to(device).eval()
    compute = torch.compile(model, dynamic=True) if settings["is_compiled"] else model

    def forward(ids, mask):
        with torch.inference_mode():
            outputs = compute(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=torch.from_numpy(mask).to(device),
            )
        return outputs.logits.float().cpu().numpy()

    return padded_runner(settings, forward)


def training(settings: dict) -> Callable[[], Callable[[], np.ndarray]]:
    """A plain loop with AdamW, one epoch a run; the outputs are those from before all training.

    Batches are padded to their longest text; `is_grouped` puts texts of like lengths together. On
    another `device` than the CPU products are of bfloat16.
    """
    device = settings.get("device", "cpu")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(settings["model"])
    model = model.to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    texts = read_texts(settings)
    labels = torch.arange(len(texts)) % model.config.num_labels
    options = {"padding": True, "truncation": True, "max_length": 512, "return_tensors": "pt"}
    with torch.inference_mode():
        before = model.eval()(**tokenizer(texts[:8], **options).to(device)).logits.cpu().numpy()
    model.train()
    random = np.random.default_rng(0)
    grouping = {"is_sorted": settings["is_grouped"], "batch_size": settings["batch_size"]}

    def run() -> Callable[[], np.ndarray]:
        order = random.permutation(len(texts))
        lengths = [len(row) for row in tokenizer([texts[i] for i in order]).input_ids]
        batches = list(batches_of(lengths, grouping))
        for i in random.permutation(len(batches)):
            chosen = order[batches[i]]
            inputs = tokenizer([texts[place] for place in chosen], **options).to(device)
            with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
                loss = model(**inputs, labels=labels[chosen].to(device)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        # What a GPU was told to do is done when it is waited for.
        loss.item()
        return lambda: before

    return run


def generation(settings: dict) -> Callable[[], np.ndarray]:
    """`generate`, to a fixed number of tokens."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(settings["model"]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"])
    # An end that is forced would be the last token.
    model.generation_config.forced_eos_token_id = None
    texts = read_texts(settings)
    start = [model.config.decoder_start_token_id, model.config.bos_token_id]

    def run() -> np.ndarray:
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        ids = model.generate(
            **inputs,
            decoder_input_ids=torch.tensor([start] * len(texts)),
            do_sample=False,
            num_beams=settings["num_beams"],
            min_new_tokens=settings["num_tokens"],
            max_new_tokens=settings["num_tokens"],
        )
        return np.array(tokenizer.batch_decode(ids, skip_special_tokens=True))

    return run


def tokenizer(settings: dict) -> Callable[[], np.ndarray]:
    """The tokenizer, with rows as `fit` has them elsewhere: 512 tokens each."""
    tokenize = transformers.AutoTokenizer.from_pretrained(settings["model"])
    texts = read_texts(settings)
    options = {"padding": "max_length", "truncation": True, "max_length": 512}
    return lambda: tokenize(texts, **options, return_tensors="np").input_ids
