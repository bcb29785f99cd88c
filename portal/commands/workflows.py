"""`flask workflow`: try a workflow of a file once, without installing it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from portal.commands.output import as_json, in_environment, plainly, print_json, refuse
from portal.db import transaction
from portal.environments import Environment
from portal.integrations.declaration import IntegrationDeclaration, WorkflowDeclaration, read_declaration
from portal.runs.executing import Executor, Subject
from portal.runs.masking import LOGGED
from portal.runs.models import RunState
from portal.runs.trying import Silent, TriedStep, prepare, try_steps
from portal.users.rules import find_user
from portal.workflows.definition import LARGEST_VALUE
from portal.workflows.sizes import DEEPEST_VALUE, is_too_deep

workflow = AppGroup("workflow", help="Workflows of integration files.")

# What comes from an app could steer a terminal: such characters are printed as their codes.
_STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_ENDS = {
    None: "It succeeded.",
    RunState.succeeded: "It succeeded.",
    RunState.filtered: "A filter ended it: the rest is not done for this item.",
    RunState.failed: "It failed: a run would end here, and the vendor would get the event run.failed.",
    RunState.retrying: "A run would try this step again, for a day.",
    RunState.paused: "A run would pause here, until the user connects the account again.",
}


@workflow.command("try")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--user", required=True, help="Whose credentials are used: an id or a username.")
@click.option("--item", type=click.Path(path_type=Path), required=True, help="A JSON file: what the run begins with.")
@click.option("--workflow", "name", help="Which workflow of the file, when it has several.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="A value for one of its fields.")
@click.option("--dry-run", is_flag=True, help="Build each request and print it; nothing leaves.")
@in_environment
@as_json
@plainly
def try_workflow(
    file: Path,
    user: str,
    item: Path,
    name: str | None,
    fields: Sequence[str],
    dry_run: bool,
    environment: Environment,
    as_json: bool,
) -> None:
    """Run a workflow of FILE once and print each step. Nothing is stored; requests do leave, unless --dry-run."""
    catalogue, keys = current_app.extensions["catalogue"], current_app.extensions["keys"]
    declaration = read_declaration(file, catalogue)
    chosen = _choose(file, declaration, name)
    value = _read_item(item)
    with transaction(environment) as session:
        subject = prepare(
            session,
            keys,
            catalogue,
            integration=declaration.name,
            apps=declaration.apps,
            declared=chosen,
            user=find_user(session, user),
            item=value,
            given=_pairs(fields),
        )
    executor = Executor(Silent() if dry_run else current_app.extensions["outbound"], keys)
    tell = _Telling(chosen.name, subject, is_dry=dry_run, as_json=as_json)
    for step in try_steps(executor, subject):
        tell.step(step)
    tell.end()


def _choose(file: Path, declaration: IntegrationDeclaration, name: str | None) -> WorkflowDeclaration:
    names = [one.name for one in declaration.workflows]
    if name is None and len(names) > 1:
        refuse(f"{file} has several workflows: name one with `--workflow`: {', '.join(names)}.")
    wanted = name or names[0]
    found = next((one for one in declaration.workflows if one.name == wanted), None)
    if found is None:
        refuse(f"{file} has no workflow “{wanted}”: it has {', '.join(names)}.")
    return found


def _read_item(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{path}: can't be read: {error}.")
    if len(text.encode()) > LARGEST_VALUE:
        refuse(f"{path}: a run begins with at most {LARGEST_VALUE // 1000} kB of JSON: take less of it.")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        refuse(f"{path}: line {error.lineno}: this is not JSON: {error.msg}.")
    except RecursionError:
        value, is_deep = None, True
    else:
        is_deep = is_too_deep(value)
    if is_deep:
        refuse(f"{path}: lists and objects may stand in each other in at most {DEEPEST_VALUE} levels: flatten it.")
    return value


def _pairs(fields: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals:
            refuse(f"“{text}” is no field with its value: write --field {name}=VALUE.")
        pairs[name] = value
    return pairs


class _Telling:
    """Prints steps as they are done; or, for scripts, one document at the end."""

    def __init__(self, name: str, subject: Subject, *, is_dry: bool, as_json: bool) -> None:
        self._name, self._subject, self._is_dry, self._as_json = name, subject, is_dry, as_json
        self._steps: list[TriedStep] = []
        if not as_json:
            click.echo(f"{_plain(name)}{' (dry run: nothing leaves)' if is_dry else ''}")

    def step(self, step: TriedStep) -> None:
        self._steps.append(step)
        if self._as_json:
            return
        turns = [str(int(part) + 1) for part in step.path.split(".")[1:-1:2]]
        turn = f", turn {', '.join(turns)}" if turns else ""
        click.echo(f"\n{len(self._steps)}. {_plain(step.block.name)} ({step.block.kind}{turn})")
        for line in _said(step, self._is_dry):
            click.echo(_plain("   " + line.replace("\n", "\n   ")))

    def end(self) -> None:
        ended_by = self._steps[-1].state if self._steps else None
        # A filter inside of a loop ends only its turn; the run ends well unless the last step says otherwise.
        is_turn = ended_by is RunState.filtered and "." in self._steps[-1].path
        verdict = _ENDS[None] if is_turn else _ENDS.get(ended_by, _ENDS[None])
        if self._as_json:
            print_json(
                {
                    "workflow": self._name,
                    "dryRun": self._is_dry,
                    "steps": [_facts(step) for step in self._steps],
                    "outcome": str(RunState.succeeded if is_turn or ended_by not in _ENDS else ended_by or "succeeded"),
                }
            )
        else:
            click.echo(f"\n{verdict}")
        if ended_by in (RunState.failed, RunState.retrying, RunState.paused):
            raise click.exceptions.Exit(1)


def _facts(step: TriedStep) -> dict[str, Any]:
    return {
        "step": step.block.name,
        "path": step.path,
        "kind": step.block.kind,
        "state": str(step.state),
        "input": step.input,
        "output": step.output,
        "error": step.because,
        "wait": None if step.wait is None else int(step.wait.total_seconds()),
    }


def _said(step: TriedStep, is_dry: bool) -> list[str]:
    if step.block.kind == "request" and isinstance(step.input, dict):
        lines = _request_lines(step, is_dry)
    elif step.block.kind == "for_each" and step.state is RunState.running:
        lines = [f"repeats its steps for {step.output['items']} items"]
    elif step.block.kind == "filter":
        lines = [f"{_text(step.input)} → {'goes on' if step.state is RunState.succeeded else 'ends here'}"]
    elif step.state is RunState.waiting and step.wait is not None:
        lines = [f"a run would wait here for {step.wait}; this try goes on"]
    else:
        lines = ["→ " + _text(step.output)] if step.because is None else []
    if step.because is not None:
        lines.append(step.because)
        if step.wait is not None:
            lines.append(f"It would be tried again after {step.wait}.")
    return lines


def _request_lines(step: TriedStep, is_dry: bool) -> list[str]:
    asked = step.input
    lines = [f"{asked['method']} {asked['url']}"]
    lines += [f"{name}: {value}" for name, value in asked["headers"].items()]
    if asked["body"] is not None:
        lines += ["", _text(asked["body"])]
    if is_dry:
        return [*lines, "", "→ not sent; the try goes on with an empty answer"]
    if isinstance(step.output, dict):
        lines += ["", f"→ {step.output['status']} {'' if step.output['body'] is None else _text(step.output['body'])}"]
    return lines


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= LOGGED else text[:LOGGED] + "…"


def _plain(text: str) -> str:
    return _STEERING.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
