"""Names as Keras makes them."""

import re

__all__ = ["snake_case"]


def snake_case(class_name: str) -> str:
    """Writes a class name as Keras does for the names of layers and for paths of weights.

    Example:
    >>> snake_case("XLMRobertaMaskedLM")
    'xlm_roberta_masked_lm'
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
