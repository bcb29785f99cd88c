"""Static files: our CSS and script joined with htmx, hashed, compressed with brotli, served by WhiteNoise.

They are made in the data folder at the start of the app, from the sources in `static/` and the `django-htmx` wheel
(which is installed for its copy of htmx alone), and only when one of these has changed. The accent colour can change
while the portal runs, so it stands in the page (`portal.colour.accent_css`).
"""

from __future__ import annotations

import hashlib
import os
import re
from importlib.util import find_spec
from pathlib import Path

import brotli
from flask import Flask
from whitenoise import WhiteNoise

from portal.settings import MissingSetting, Settings

EMBEDDING = ("embed.js", "embed.d.ts")  # for vendors' own pages
SOURCES = Path(__file__).parent.parent / "static"
_HASHED = re.compile(r"\.[0-9a-f]{12}\.(css|js)$")


def _htmx() -> bytes:
    spec = find_spec("django_htmx")
    if spec is None or not spec.submodule_search_locations:
        raise MissingSetting("htmx is missing: run `make setup`, or `pip install --no-deps django-htmx`.")
    return (Path(spec.submodule_search_locations[0]) / "static/django_htmx/htmx-4.min.js").read_bytes()


def _squeeze(css: str) -> str:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    return re.sub(r"\s*([{};,])\s*|\s+", lambda match: match[1] or " ", css).strip()


def _write(folder: Path, stem: str, kind: str, data: bytes) -> str:
    """Write `data` and its brotli twin under a name that goes with the content; what is there is left alone."""
    name = f"{stem}.{hashlib.sha256(data).hexdigest()[:12]}.{kind}"
    if not (folder / name).exists():
        for target, content in ((folder / f"{name}.br", brotli.compress(data)), (folder / name, data)):
            fresh = target.with_name(f".{target.name}.{os.getpid()}")
            fresh.write_bytes(content)
            os.replace(fresh, target)
    return name


def _copy(source: Path, target: Path) -> None:
    """Copy a file whose name is part of the contract, with its brotli twin; what is the same is left alone."""
    data = source.read_bytes()
    if target.exists() and target.read_bytes() == data:
        return
    for path, content in ((target.with_name(f"{target.name}.br"), brotli.compress(data)), (target, data)):
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(content)
        os.replace(fresh, path)


def init_assets(app: Flask, settings: Settings) -> None:
    """Build what is missing, and serve it below /static/ (and the vendor's own files below /branding/)."""
    folder, branding = settings.instance / "assets", settings.instance / "branding"
    folder.mkdir(parents=True, exist_ok=True)
    css = _squeeze((SOURCES / "portal.css").read_text("utf-8")).encode()
    script = _htmx() + b"\n" + (SOURCES / "portal.js").read_bytes()
    names = {"css": _write(folder, "portal", "css", css), "js": _write(folder, "portal", "js", script)}
    # The dashboard gets all of it in one file of each kind, so that a page needs three requests.
    more = _squeeze((SOURCES / "dashboard.css").read_text("utf-8")).encode()
    names["dashboard_css"] = _write(folder, "dashboard", "css", css + more)
    names["dashboard_js"] = _write(folder, "dashboard", "js", script + b"\n" + (SOURCES / "dashboard.js").read_bytes())
    app.jinja_env.globals["assets"] = {kind: f"/static/{name}" for kind, name in names.items()}
    for name in EMBEDDING:
        _copy(SOURCES / name, folder / name)
    served = WhiteNoise(
        app.wsgi_app,
        root=str(folder),
        prefix="static/",
        max_age=3600,
        immutable_file_test=lambda path, url: bool(_HASHED.search(url)),
        add_headers_function=_headers,
        allow_all_origins=False,
    )
    if branding.is_dir():
        served.add_files(str(branding), prefix="branding/")
    app.wsgi_app = served  # type: ignore[method-assign]


def _headers(headers: object, path: str, url: str) -> None:
    is_public = url.rpartition("/")[2] in EMBEDDING
    headers["X-Content-Type-Options"] = "nosniff"  # type: ignore[index]
    headers["Content-Security-Policy"] = "default-src 'none'"  # type: ignore[index]
    headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_public else "same-origin"  # type: ignore[index]
    if is_public:
        headers["Access-Control-Allow-Origin"] = "*"  # type: ignore[index]
