"""Checks of what a task is made of."""

from clozework.errors import ConfigError

__all__ = ["check_parts", "check_preprocessor"]


def check_parts(cls: type, backbone, preprocessor) -> None:
    """Raises `ConfigError` for the backbone or the preprocessor of another family."""
    if not isinstance(backbone, cls.backbone_cls):
        raise ConfigError(
            f"{cls.__name__} needs a {cls.backbone_cls.__name__} as its backbone. "
            f"Received: a {type(backbone).__name__}."
        )
    check_preprocessor(cls, preprocessor)


def check_preprocessor(cls: type, preprocessor) -> None:
    """Raises `ConfigError` for the preprocessor of another family or task."""
    if preprocessor is not None and not isinstance(preprocessor, cls.preprocessor_cls):
        raise ConfigError(
            f"{cls.__name__} needs a {cls.preprocessor_cls.__name__}. "
            f"Received: a {type(preprocessor).__name__}."
        )
