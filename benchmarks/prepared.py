"""Models that are measured: random weights of real sizes, the same for everybody, written once."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Job, Worker
from tests.real.fetch import fetch
from tests.real.files import real_data_directory

__all__ = ["MODELS", "Model", "Models"]


@dataclass(frozen=True)
class Model:
    """A model of `transformers`.

    Attributes:
        architecture: Class in `transformers`, whose config is filled with `config`.
        config: Of the checkpoint that it stands for.
        vocabulary: Package of `tests.real.fetch` with its vocabulary.
        tokenizer, files: Class in `transformers`, and what it reads.
    """

    architecture: str
    config: dict[str, Any]
    vocabulary: str
    tokenizer: str
    files: tuple[str, ...]


_BYTE_PAIRS = ("roberta/vocab.json", "roberta/merges.txt")
_ROBERTA = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    # Said by all checkpoints; CTranslate2 asks for it.
    "position_embedding_type": "absolute",
}
_SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "intermediate_size": 512,
}

MODELS = {
    "roberta_base": Model(
        "RobertaForSequenceClassification", _ROBERTA, "english", "RobertaTokenizer", _BYTE_PAIRS
    ),
    "roberta_small": Model(
        "RobertaForSequenceClassification",
        {**_ROBERTA, **_SMALL},
        "english",
        "RobertaTokenizer",
        _BYTE_PAIRS,
    ),
    "deberta_v3_base": Model(
        "DebertaV2ForSequenceClassification",
        {
            "vocab_size": 128100,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "max_position_embeddings": 512,
            "type_vocab_size": 0,
            "layer_norm_eps": 1e-7,
            "relative_attention": True,
            "max_relative_positions": -1,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "pooler_dropout": 0,
            "pooler_hidden_act": "gelu",
            "pooler_hidden_size": 768,
        },
        "deberta_v3",
        "DebertaV2Tokenizer",
        ("deberta_v3/spm.model",),
    ),
    "bart_base": Model(
        "BartForConditionalGeneration",
        {
            "vocab_size": 50265,
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
            "max_position_embeddings": 1024,
            # Larger than usual, so that what is written depends on what is read.
            "init_std": 0.1,
            # Said by all checkpoints; CTranslate2 asks for it.
            "normalize_before": False,
        },
        "english",
        "BartTokenizer",
        _BYTE_PAIRS,
    ),
}

# Layers of a config that a trial cuts.
_LAYERS = ("num_hidden_layers", "encoder_layers", "decoder_layers")
# Format -> the environment that writes it, from the directory of `transformers`.
_WRITERS = {
    "keras_hub": "clozework",
    "onnx": "preparing",
    "openvino": "preparing",
    "openvino_int8": "preparing",
    "ctranslate2": "preparing",
}


class Models:
    """The models in a cache, each in the formats that are asked for.

    Args:
        cache: Folder of the benchmarks.
        num_layers: Number of layers in place of the real ones, for a trial.
    """

    def __init__(self, cache: Path, num_layers: int | None = None):
        self._cache = cache
        self._num_layers = num_layers

    def directory(self, name: str, form: str = "transformers") -> str:
        """Returns where a model is in a format; writes it unless it is there."""
        size = "whole" if self._num_layers is None else f"{self._num_layers}_layers"
        place = self._cache / "models" / size / name
        if form == "transformers":
            return self._written(place / form, "transformers_model", "preparing", self._told(name))
        source = self.directory(name)
        return self._written(place / form, f"{form}_model", _WRITERS[form], {"source": source})

    def _told(self, name: str) -> dict[str, Any]:
        """Returns what the writer of a model is told."""
        model = MODELS[name]
        fetch(model.vocabulary, real_data_directory())
        config = dict(model.config)
        if self._num_layers is not None:
            layers = [key for key in _LAYERS if key in config] or ["num_hidden_layers"]
            config |= dict.fromkeys(layers, self._num_layers)
        files = [str(real_data_directory() / file) for file in model.files]
        return {
            "architecture": model.architecture,
            "config": config,
            "tokenizer": model.tokenizer,
            "files": files,
        }

    def _written(self, target: Path, function: str, environment: str, told: dict[str, Any]) -> str:
        """Writes to another place first: what is there is whole."""
        if not target.exists():
            print(f"Writing {target}", file=sys.stderr)
            part = target.with_name(f"{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            job = Job(environment, f"preparing:{function}", {**told, "target": str(part)})
            Worker(job, self._cache).close()
            part.rename(target)
        return str(target)
