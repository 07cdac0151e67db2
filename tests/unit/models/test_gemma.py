"""What is peculiar to Gemma: widths that go together, and how weights are shared out."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ConfigError
from tests.contract.families import FAMILIES, tiny_backbone


@pytest.mark.parametrize(
    "changes", [{"num_key_value_heads": 3}, {"head_dim": 5}, {"intermediate_dim": 11}]
)
def test_widths_that_do_not_go_together_are_refused(changes):
    with pytest.raises(ConfigError, match="must be a multiple of .* must be even. Received: "):
        tiny_backbone(FAMILIES["gemma"], **changes)


def test_every_large_weight_has_its_layout():
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=1)
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), devices=["cpu:0"])
    layout = models.GemmaBackbone.get_layout_map(mesh)
    for weight in backbone.weights:
        axes = layout[weight.path]
        assert (axes is None) == (len(weight.shape) == 1), weight.path
        if axes is not None:
            assert len(axes.axes) == len(weight.shape)


def test_meshes_without_the_axes_are_refused():
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "tensor"), devices=["cpu:0"])
    with pytest.raises(ConfigError, match="has the axes 'batch', 'tensor', but 'model' and"):
        models.GemmaBackbone.get_layout_map(mesh)
    with pytest.raises(ConfigError, match="Expected a DeviceMesh, not a ndarray"):
        models.GemmaBackbone.get_layout_map(np.zeros(1))
