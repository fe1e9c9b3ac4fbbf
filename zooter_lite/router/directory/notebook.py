"""A router as a notebook shows it; nothing in its directory can run a script there."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import Any

from zooter_lite.errors import RouterError
from zooter_lite.router.directory.store import RouterFiles

PICTURE, REPORT = "report.svg", "report.json"


def router_html(files: RouterFiles) -> str:
    """Lay out experts, encoder, the measured verdicts and the picture of a router directory.

    All text is escaped. The picture is an image, whose scripts no browser runs.
    """
    config = files.config
    lines = [
        f"<b>Router</b> over {len(config.experts)} experts: {escape(', '.join(config.experts))}",
        f"encoder {escape(config.encoder.name)}, {config.encoder.dim} dimensions",
        *(f"{escape(split)}: {escape(verdict)}" for split, verdict in _verdicts(files)),
    ]
    html = "".join(f"<div>{line}</div>" for line in lines)
    picture = _content(files, PICTURE)
    if picture:
        data = base64.b64encode(picture).decode("ascii")
        html += f'<img alt="mean rewards" src="data:image/svg+xml;base64,{data}">'
    return html


def _content(files: RouterFiles, name: str) -> bytes:
    """Return a file for people, or nothing where it is missing or damaged: routing needs none."""
    if name not in files.config.files:
        return b""
    try:
        return files.read(name)[:]
    except RouterError:
        return b""


def _verdicts(files: RouterFiles) -> list[tuple[str, str]]:
    """Split and verdict of each slice that report.json tells of."""
    try:
        report: Any = json.loads(_content(files, REPORT) or b"{}")
        slices = report.get("slices", [])
        return [(str(one["split"]), str(one["verdict"]["text"])) for one in slices]
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):  # not of our making
        return []
