"""Every exception and warning that Clozework raises.

ClozeworkError
├── AgreementError(ValueError)         rounded weights would change the answers
├── ConfigError(ValueError)            an architecture or option that cannot be
├── InputError(ValueError)             data handed in that cannot be used
├── PresetError(ValueError)            something is wrong with a stored model
│   ├── PresetNotFoundError(FileNotFoundError)
│   ├── DownloadError(OSError)         a preset that exists could not be fetched
│   └── WeightsError                   stored weights are damaged or do not fit the model
└── MissingPackageError(ImportError)   an optional package is needed
ClozeworkWarning(UserWarning)          results are right, but perhaps not what you meant
"""

__all__ = [
    "AgreementError",
    "ClozeworkError",
    "ClozeworkWarning",
    "ConfigError",
    "DownloadError",
    "InputError",
    "MissingPackageError",
    "NoExamplesError",
    "PresetError",
    "PresetNotFoundError",
    "WeightsError",
]


class ClozeworkError(Exception):
    """The root of all errors that Clozework raises itself."""


class AgreementError(ClozeworkError, ValueError):
    """A model with rounded weights would answer differently; it was left as it was."""


class ConfigError(ClozeworkError, ValueError):
    """An argument, or a combination of arguments, that no model can have."""


class InputError(ClozeworkError, ValueError):
    """Data that was handed in cannot be used as it is."""


class NoExamplesError(InputError):
    """Data was handed in that holds not a single example."""


class PresetError(ClozeworkError, ValueError):
    """A stored model cannot be read or written."""


class PresetNotFoundError(PresetError, FileNotFoundError):
    """No stored model, or no such file in it, at the place that was named."""


class DownloadError(PresetError, OSError):
    """A stored model could not be fetched; nothing partial was kept."""


class WeightsError(PresetError):
    """Stored weights are damaged or do not fit the model."""


class MissingPackageError(ClozeworkError, ImportError):
    """An optional package is needed for what was asked."""


class ClozeworkWarning(UserWarning):
    """The result is right, but perhaps not what was meant."""
