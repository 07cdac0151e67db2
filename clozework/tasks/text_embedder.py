"""The abstract text embedder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from clozework.errors import ConfigError, InputError
from clozework.layers import Dense, TextPooling, activation_function, activation_name
from clozework.losses import InBatchNegatives
from clozework.presets import SentenceModules, write_sentence_modules
from clozework.tasks.numbers import check_count
from clozework.tasks.packed_texts import pooled_texts
from clozework.tasks.task import Task
from clozework.tasks.text_embedder_preprocessor import POOLING_MASK
from clozework.tasks.text_inputs import text_examples

__all__ = ["TextEmbedder"]


class TextEmbedder(Task):
    """Base class of models that give each text one vector: similar texts, similar vectors.

    Args:
        backbone: The family's backbone.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        pooling_mode: How a text's vector is made of its tokens': `"mean"`, `"cls"`, `"max"` or
            `"lasttoken"`.
        normalize: Whether vectors have length 1.
        projections: Dense layers after the pooling, each `{"units": ..., "activation": ...,
            "use_bias": ...}`, as sentence-transformers' `Dense` modules.
        prompts: Name -> what is put before a text, as in `{"query": "query: "}`.
        default_prompt_name: The prompt of texts for which none is asked for.

    Inputs: those of the backbone; where it takes no `"padding_mask"` (FNet), a `"pooling_mask"`
        says which tokens count, and a text's vector belongs to `sequence_length`.
    Outputs: `(batch, dim)`.

    Paper: Reimers and Gurevych, 2019, https://arxiv.org/abs/1908.10084
    """

    kind = "TextEmbedder"
    hub_task = "sentence-similarity"
    hub_library = "sentence-transformers"

    def __init__(
        self,
        backbone,
        preprocessor=None,
        pooling_mode="mean",
        normalize=True,
        *,
        projections=(),
        prompts=None,
        default_prompt_name=None,
        **kwargs,
    ):
        self.pooling_mode = pooling_mode
        self.normalize = normalize
        self.prompts = _checked_prompts(prompts, default_prompt_name)
        self.default_prompt_name = default_prompt_name
        dtype = backbone.dtype_policy
        self.pooling = TextPooling(pooling_mode, dtype=dtype, name="pooling")
        self.projections = [_projection(i, options, dtype) for i, options in enumerate(projections)]
        tokens = backbone.token_vectors(backbone(backbone.input))
        # In float32: the squares of a vector's components add up past float16.
        length_one = keras.layers.UnitNormalization(dtype="float32", name="normalization")
        self.normalization = length_one if normalize else None
        inputs = dict(backbone.input)
        for name in self.preprocessor_cls.own_inputs():
            inputs[name] = keras.Input((None,), dtype="int32", name=name)
        is_token = inputs.get("padding_mask", inputs.get(POOLING_MASK))
        outputs = self._projected(self.pooling(tokens, padding_mask=is_token))
        super().__init__(backbone, preprocessor, inputs=inputs, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss=None, *, metrics=None, **kwargs):
        """Sets what `fit` minimises; there is no usual loss, and `"auto"` is Adam(5e-5).

        With `loss=clozework.losses.InBatchNegatives()` `fit` takes pairs of texts that belong
        together, `[("a question", "its answer"), ...]`, or triplets with a text that does not.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def embed(
        self,
        texts,
        *,
        prompt_name: str | None = None,
        batch_size: int = 32,
        truncate_dim: int | None = None,
    ) -> np.ndarray:
        """Returns the vectors of texts.

        Args:
            texts: A string, or a list of strings.
            prompt_name: Which of `prompts` to put before each text; None for the default one.
            batch_size: Number of texts computed at once.
            truncate_dim: How many components to keep, for models that were trained to have the
                most important ones first. Vectors of length 1 get length 1 again.

        Returns:
            float32 `(dim,)` for a string, `(texts, dim)` for a list.

        Raises:
            InputError: If anything is no string, or there is no such prompt.

        Example:
        >>> embedder = TextEmbedder.from_preset("deberta_v3_tiny_en_demo", pooling_mode="mean")
        >>> embedder.embed(["the earth", "the heaven"], truncate_dim=8).shape
        (2, 8)
        """
        dim = self.output_shape[-1]
        if truncate_dim is not None:
            check_count("truncate_dim", truncate_dim, highest=dim)
        examples, is_batch = text_examples(texts)
        prompt = self._prompt(prompt_name)
        pairs = [i for i, text in enumerate(examples) if not isinstance(text, str)]
        if pairs:
            raise InputError(
                f"Text {pairs[0]} is {examples[pairs[0]]!r:.80}, several texts, but one vector is "
                f"that of one text. Pass a list of strings."
            )
        if not examples:
            return np.zeros((0, truncate_dim or dim), "float32")
        vectors = self.predict([prompt + text for text in examples], batch_size, verbose=0)
        vectors = vectors.astype("float32")[:, :truncate_dim]
        if self.normalize and truncate_dim is not None:
            lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors = vectors / np.maximum(lengths, 1e-12)
        return vectors if is_batch else vectors[0]

    def answers_to(self, x):
        vectors = self.predict(x, verbose=0)
        likeness = self.similarity(vectors, vectors)
        np.fill_diagonal(likeness, -np.inf)
        return likeness.argmax(axis=-1).tolist() if len(vectors) > 1 else []

    def encode_text(self, text, **kwargs):
        """Returns the vectors of texts; arguments as in `predict`."""
        return self.predict(text, **kwargs)

    def encode_documents(self, documents, **kwargs):
        """Returns the vectors of documents; arguments as in `predict`."""
        return self.predict(documents, **kwargs)

    def similarity(self, query_embeddings, document_embeddings) -> np.ndarray:
        """Returns how similar vectors are: their dot products, cosines where their length is 1.

        Args:
            query_embeddings: `(queries, dim)`, or `(dim,)` for one.
            document_embeddings: `(documents, dim)`, or `(dim,)` for one.

        Returns:
            `(queries, documents)`, in float32 or more, whatever the vectors are stored as.

        Raises:
            InputError: If the vectors are of different widths, or texts.

        Example:
        >>> embedder = TextEmbedder.from_preset("deberta_v3_tiny_en_demo")
        >>> vectors = embedder.embed(["the earth", "the heaven", "the sea"])
        >>> embedder.similarity(vectors[0], vectors).shape
        (1, 3)
        """
        queries = _vectors("query_embeddings", query_embeddings)
        documents = _vectors("document_embeddings", document_embeddings)
        if queries.shape[1] != documents.shape[1]:
            raise InputError(
                f"Vectors of {queries.shape[1]} and of {documents.shape[1]} components cannot be "
                f"compared. Use vectors of one model, with one `truncate_dim`."
            )
        return queries @ documents.T

    def call_packed(self, inputs):
        return self._projected(pooled_texts(self, inputs))

    def usage(self):
        return 'vectors = model.embed(["A text.", "Another one."])'

    def get_config(self):
        config = super().get_config()
        if "projections" in config:
            config["projections"] = [_projection_config(layer) for layer in self.projections]
        return config

    def write_extras(self, directory: Path) -> None:
        modules = SentenceModules(
            pooling_mode=self.pooling_mode,
            normalize=self.normalize,
            projections=tuple(_projection_config(layer) for layer in self.projections),
            max_length=self.preprocessor.sequence_length if self.preprocessor else None,
            prompts=self.prompts,
            default_prompt_name=self.default_prompt_name,
            has_full_rows="padding_mask" not in self.backbone.input_names,
        )
        weights = [
            [keras.ops.convert_to_numpy(variable) for variable in layer.weights]
            for layer in self.projections
        ]
        write_sentence_modules(directory, modules, weights, hidden_dim=self.backbone.hidden_dim)

    def token_counts(self, examples):
        is_of_single_texts = isinstance(self.loss, InBatchNegatives)
        return super().token_counts(
            self._single_texts(examples) if is_of_single_texts else examples
        )

    def _training_batch(self, x, y, sample_weight):
        if not isinstance(self.loss, InBatchNegatives):
            return super()._training_batch(x, y, sample_weight)
        if self.preprocessor is None or y is not None or sample_weight is not None:
            raise InputError(
                "InBatchNegatives is for pairs of texts alone: it needs a preprocessor, and takes "
                "neither labels nor `sample_weight`."
            )
        inputs = self.compact(self.preprocessor(self._single_texts(x)))
        self.check_inputs(inputs)
        return inputs, np.arange(len(x), dtype="int32")

    def _single_texts(self, examples: Sequence) -> list[str]:
        """Returns all first texts of pairs or triplets, all second ones, and so on."""
        sizes = {1 if isinstance(example, str) else len(example) for example in examples}
        if len(sizes) > 1 or min(sizes) < 2:
            raise InputError(
                f"InBatchNegatives takes pairs, or triplets, of texts. Received examples of "
                f"{' and '.join(map(str, sorted(sizes)))}."
            )
        prompt = self._prompt(None)
        return [prompt + text for texts in zip(*examples, strict=True) for text in texts]

    def _projected(self, pooled):
        for projection in self.projections:
            pooled = projection(pooled)
        return pooled if self.normalization is None else self.normalization(pooled)

    def _prompt(self, name: str | None) -> str:
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise InputError(
                f"The model has no prompt {name!r}. It has: "
                f"{', '.join(map(repr, self.prompts)) or 'none'}."
            )
        return self.prompts[name]


def _projection(i: int, options: Mapping[str, Any], dtype):
    known = {"units", "activation", "use_bias"}
    if not isinstance(options, Mapping) or "units" not in options or set(options) - known:
        raise ConfigError(
            f"Each of `projections` must be a dict with 'units' and, if wanted, 'activation' and "
            f"'use_bias'. Received: {options!r}."
        )
    return Dense(
        options["units"],
        activation=activation_function(options.get("activation")),
        use_bias=options.get("use_bias", True),
        dtype=dtype,
        name=f"projection_{i}",
    )


def _projection_config(layer) -> dict[str, Any]:
    return {
        "units": layer.units,
        "activation": activation_name(layer.activation),
        "use_bias": layer.use_bias,
    }


def _checked_prompts(prompts, default: str | None) -> dict[str, str]:
    prompts = dict(prompts or {})
    if not all(isinstance(text, str) for item in prompts.items() for text in item):
        raise ConfigError(f"`prompts` must be a dict of strings. Received: {prompts!r}.")
    if default is not None and default not in prompts:
        raise ConfigError(
            f"`default_prompt_name` is {default!r}, but the prompts are: "
            f"{', '.join(map(repr, prompts)) or 'none'}."
        )
    return prompts


def _vectors(name: str, values: Sequence) -> np.ndarray:
    array = np.asarray(
        keras.ops.convert_to_numpy(values) if keras.ops.is_tensor(values) else values
    )
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise InputError(
            f"`{name}` must be vectors, (texts, dim) or (dim,), as `embed` gives them. "
            f"Received: {values!r:.80}."
        )
    # Products of whole numbers or of float16 would overflow.
    return np.atleast_2d(array.astype(np.promote_types(array.dtype, "float32")))
