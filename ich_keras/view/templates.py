"""Renders the templates of the package: reports, pages of studies, and model cards."""

from pathlib import Path
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """A page from a template of the package; a missing value is an error, not a gap."""
    return _environment(html=True).get_template(template).render(values)


def render_markdown(template: str, **values: Any) -> str:
    """Markdown from a template of the package, or from one whose path is given."""
    path = Path(template)
    return _environment(path.parent, html=False).get_template(path.name).render(values)


def _environment(*folders: Path, html: bool) -> jinja2.Environment:
    loaders = [jinja2.PackageLoader("ich_keras"), *map(jinja2.FileSystemLoader, folders)]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=html,
        keep_trailing_newline=not html,
    )
