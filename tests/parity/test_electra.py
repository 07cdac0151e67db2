"""Discriminators: checkpoints of a class of `transformers` that is no task here."""

import keras
import numpy as np
import pytest
import torch
import transformers

from clozework import models
from clozework.errors import ClozeworkWarning
from tests.parity.hugging_face_models import CONFIGS, random_inputs, upstream_outputs


@pytest.mark.filterwarnings("ignore:.*pooled_dense")
def test_a_discriminator_is_read_as_an_encoder(tmp_path):
    torch.manual_seed(0)
    config = transformers.ElectraConfig(**CONFIGS["electra"][1])
    theirs = transformers.ElectraForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    inputs = random_inputs("electra")
    vectors = models.Backbone.from_preset(tmp_path)(inputs)["sequence_output"]
    expected = upstream_outputs(theirs.electra, inputs).last_hidden_state.numpy()
    is_token = inputs["padding_mask"].astype(bool)
    ours = keras.ops.convert_to_numpy(vectors)
    np.testing.assert_allclose(ours[is_token], expected[is_token], atol=1e-5, rtol=0)
    with pytest.warns(ClozeworkWarning, match="has no head for ElectraMaskedLM"):
        models.MaskedLM.from_preset(tmp_path, preprocessor=None)
