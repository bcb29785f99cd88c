"""A block of a page by itself, for htmx. `jinja2_fragments` can't: its own argument is called `environment` as well."""

from __future__ import annotations

from typing import Any

from flask import current_app


def render_fragment(template_name: str, block: str, **facts: Any) -> str:
    """One block of a template, with what every page knows."""
    context = dict(facts)
    current_app.update_template_context(context)
    template = current_app.jinja_env.get_template(template_name)
    return "".join(template.blocks[block](template.new_context(context)))
