"""Where models come from and how they are stored."""

from clozework.presets.files import LocalFiles, MemoryFiles, PresetFiles
from clozework.presets.h5_weights import read_h5, write_h5
from clozework.presets.handle import open_handles, open_preset
from clozework.presets.hugging_face_format import (
    Converted,
    HuggingFaceFormat,
    HuggingFaceHead,
    encoder_block_rows,
)
from clozework.presets.keras_format import (
    BACKBONE_FILES,
    PREPROCESSOR_FILES,
    TOKENIZER_FILES,
    StoredObject,
    is_keras_preset,
    metadata_record,
    object_record,
    read_object,
    write_object,
    write_tokenizer,
)
from clozework.presets.keras_variables import (
    fill_from_keras_file,
    merged_kernel,
    plain_values,
    quantized_policies,
    stored_values,
    walk_layers,
)
from clozework.presets.listing import class_property, presets_of
from clozework.presets.manifest import CARD, checked_by_manifest, verify_manifest
from clozework.presets.names import snake_case
from clozework.presets.peft import Adapter, read_adapters, write_adapters
from clozework.presets.registry import (
    Family,
    Preset,
    built_in_preset,
    families,
    family_named,
    family_of,
    register,
    registered_class,
    unknown_preset,
)
from clozework.presets.sentence_modules import SentenceModules, write_sentence_modules
from clozework.presets.staging import staged_directory
from clozework.presets.stored_model import StoredModel, open_stored_model
from clozework.presets.weight_map import Computed, Layer, WeightMap

__all__ = [
    "BACKBONE_FILES",
    "CARD",
    "PREPROCESSOR_FILES",
    "TOKENIZER_FILES",
    "Adapter",
    "Computed",
    "Converted",
    "Family",
    "HuggingFaceFormat",
    "HuggingFaceHead",
    "Layer",
    "LocalFiles",
    "MemoryFiles",
    "Preset",
    "PresetFiles",
    "SentenceModules",
    "StoredModel",
    "StoredObject",
    "WeightMap",
    "built_in_preset",
    "checked_by_manifest",
    "class_property",
    "encoder_block_rows",
    "families",
    "family_named",
    "family_of",
    "fill_from_keras_file",
    "is_keras_preset",
    "merged_kernel",
    "metadata_record",
    "object_record",
    "open_handles",
    "open_preset",
    "open_stored_model",
    "plain_values",
    "presets_of",
    "quantized_policies",
    "read_adapters",
    "read_h5",
    "read_object",
    "register",
    "registered_class",
    "snake_case",
    "staged_directory",
    "stored_values",
    "unknown_preset",
    "verify_manifest",
    "walk_layers",
    "write_adapters",
    "write_h5",
    "write_object",
    "write_sentence_modules",
    "write_tokenizer",
]
