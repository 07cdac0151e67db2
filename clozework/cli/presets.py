"""`clozework presets`: which models can be had by name."""

import click

from clozework.cli.printing import print_json, print_table

__all__ = ["presets"]


@click.command(short_help="List the models that can be had by name.")
@click.option("--family", metavar="NAME", help="Only those of one family, such as `roberta`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(*, family: str | None, as_json: bool) -> None:
    """Lists the models that can be had by name.

    Those that are `embedded` come with the package; the others are fetched at their first use.
    """
    from clozework import models  # noqa: F401 (registers the families)
    from clozework.presets import families

    chosen = [known for known in families() if family in (None, known.name, known.title)]
    if not chosen:
        names = ", ".join(known.name for known in families())
        raise click.BadParameter(f"There is no family {family!r}. There is: {names}.")
    records = [
        {
            "name": preset.name,
            "family": known.name,
            "parameters": preset.parameters,
            "embedded": preset.embedded is not None,
            "handles": list(preset.handles),
            "description": preset.description,
        }
        for known in chosen
        for preset in known.presets
    ]
    if as_json:
        print_json(records)
        return
    print_table(
        [
            (
                record["name"],
                f"{record['parameters']:,}",
                "embedded" if record["embedded"] else "fetched",
                record["description"],
            )
            for record in records
        ],
        header=("name", "parameters", "weights", "description"),
        numbers=1,
    )
