"""Every family and every task of the registry, as fixtures."""

import pytest

from clozework import models
from tests.contract.families import (
    FAMILIES,
    TASKS,
    has_padding_mask,
    tiny_backbone,
    tiny_task,
)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """A registered family."""
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def backbone(family):
    """A tiny backbone of the family, shared: tests don't train it."""
    return tiny_backbone(family)


@pytest.fixture(
    scope="module",
    params=[name for name, family in FAMILIES.items() if has_padding_mask(family)],
)
def masking_family(request):
    """A family whose encoder leaves padding out, and keeps packed texts apart."""
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def masking_backbone(masking_family):
    """A tiny backbone of such a family, shared: tests don't train it."""
    return tiny_backbone(masking_family)


@pytest.fixture(scope="module", params=TASKS)
def task_cls(request):
    """A task class of a registered family."""
    return TASKS[request.param]


@pytest.fixture(scope="module")
def task(task_cls):
    """A tiny task with its preprocessor, shared: tests don't train it."""
    return tiny_task(task_cls)


@pytest.fixture(
    scope="module",
    params=[name for name, task in TASKS.items() if not issubclass(task, models.TextEmbedder)],
)
def labelled_task_cls(request):
    """A task class whose labels are ids: of tokens, or of classes."""
    return TASKS[request.param]


@pytest.fixture(
    scope="module",
    params=[name for name, task in TASKS.items() if issubclass(task, models.TextClassifier)],
)
def classifier_cls(request):
    """A classifier's class."""
    return TASKS[request.param]


@pytest.fixture(
    scope="module",
    params=[name for name, task in TASKS.items() if issubclass(task, models.MaskedLM)],
)
def masked_lm_cls(request):
    """A masked LM's class."""
    return TASKS[request.param]
