"""The `clozework` command: it parses, calls what any user can call, and prints."""

from clozework.cli.application import application, main

__all__ = ["application", "main"]
