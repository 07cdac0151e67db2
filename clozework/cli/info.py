"""`clozework info`: what a model is, before its weights are loaded."""

import dataclasses

import click

from clozework.cli.printing import as_size, print_json, print_pairs, reading

__all__ = ["info"]


@click.command(short_help="Say what a model is, without loading its weights.")
@click.argument("preset", metavar="PRESET_OR_PATH")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(*, preset: str, as_json: bool) -> None:
    """Says what a model is: family, size, architecture, tasks, labels, files.

    PRESET_OR_PATH is a built-in name, a directory, `hf://organisation/name` or
    `kaggle://organisation/model/framework/variation`.
    """
    from clozework import models  # noqa: F401 (registers the families)
    from clozework.tasks import describe_preset

    with reading(preset, "Reading"):
        description = describe_preset(preset)
    if as_json:
        print_json(dataclasses.asdict(description))
        return
    pairs = [
        ("name", description.name),
        ("description", description.description),
        ("family", description.family),
        ("format", description.format),
        ("backbone", description.backbone),
        ("parameters", f"{description.parameters:,}"),
        *((f"  {name}", str(value)) for name, value in description.architecture.items()),
        (
            "stored task",
            description.task or ("none: a backbone alone" if description.files else ""),
        ),
        ("loads as", ", ".join(description.tasks)),
        ("tokenizer", description.tokenizer or "none"),
        ("labels", ", ".join(description.label_names or ())),
        ("fetched from", ", ".join(description.handles)),
        ("files", as_size(sum(description.files.values())) if description.files else ""),
        *((f"  {name}", as_size(size)) for name, size in description.files.items()),
    ]
    print_pairs([(name, value) for name, value in pairs if value])
