"""Pages that a person opens: one HTML file each, without scripts, that needs no network."""

import base64
from pathlib import Path
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """A page from a template of the package; a value that it lacks is an error, not a gap."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ich_keras"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def base64_of(path: Path) -> str:
    """The content of a file, as it stands in a `data:` address."""
    return base64.b64encode(path.read_bytes()).decode("ascii")
