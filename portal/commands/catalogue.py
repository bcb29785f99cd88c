"""`flask catalogue`: check declarations of apps and list the known ones."""

from __future__ import annotations

from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup

from portal.catalogue import check as check_declarations
from portal.catalogue.loading import json_schema
from portal.commands.output import as_json, print_json, print_rows

catalogue = AppGroup("catalogue", help="Apps: what credentials are for.")


@catalogue.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@as_json
def check(path: Path, as_json: bool) -> None:
    """Print every defect of the declarations at PATH with file, line and the mend."""
    defects = check_declarations(path)
    if as_json:
        print_json([{"file": str(d.file), "line": d.line, "message": d.message, "mend": d.mend} for d in defects])
    elif defects:
        for defect in defects:
            click.echo(str(defect))
    else:
        click.echo(f"{path}: no defects.")
    if defects:
        raise click.exceptions.Exit(1)


@catalogue.command("list")
@as_json
def list_apps(as_json: bool) -> None:
    """List the apps that this portal knows."""
    apps = current_app.extensions["catalogue"].values()
    rows = [{"app": app.name, "title": app.title, "fields": ", ".join(f.name for f in app.fields)} for app in apps]
    print_rows(rows, as_json=as_json, empty="The catalogue is empty.")


@catalogue.command("schema")
def schema() -> None:
    """Print the JSON Schema of a declaration, for editors."""
    print_json(json_schema())
