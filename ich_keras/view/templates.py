"""Renders the templates of the package: reports, and pages of studies."""

from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """A page from a template of the package; a missing value is an error, not a gap."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ich_keras"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
