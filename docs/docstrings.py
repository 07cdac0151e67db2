"""How docstrings become pages: an example in them is shown as code."""

import re

import griffe

__all__ = ["Examples"]

# What stands below `Example:` at the same depth, as doctest reads it; Google's style indents it.
_EXAMPLE = re.compile(r"^Example:\n(?P<code>>>> .*)\Z", flags=re.DOTALL | re.MULTILINE)


class Examples(griffe.Extension):
    """Makes each example a fenced block."""

    def on_object(self, *, obj, **kwargs) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match) -> str:
    return f"Example:\n\n```pycon\n{match['code'].rstrip()}\n```\n"
