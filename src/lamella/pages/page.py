"""A web page in one file: markup, style, data, scripts, and a policy that forbids what is outside."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template
from typing import Any

from lamella.pages.markup import Markup, element, shown


def page(title: str, body: Markup, data: Any, scripts: tuple[str, ...]) -> str:
    """Return a whole page.

    `data` is what JSON can hold, finite numbers only; the scripts, files of the folder ``assets``, find it as DATA.
    Nothing is loaded, and only this style and these scripts run: their digests stand in the page's own
    Content-Security-Policy (W3C, Content Security Policy Level 3), so that markup which slipped in could not.
    """
    style = asset("page.css")
    script = "\n".join(asset(name) for name in ("page.js", *scripts))
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    return Template(asset("page.html")).substitute(
        policy=element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        title=element("title", shown(title)),
        style=style,
        body=body,
        data=embedded(data),
        script=script,
    )


def embedded(data: Any) -> str:
    """Return `data` as JSON that ends no script element and starts no comment, whatever the text in it.

    It is ASCII, and has none of the three characters that mean something to HTML.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


@cache
def asset(name: str) -> str:
    """Return the text of a file of the folder ``assets``."""
    return (files("lamella.pages") / "assets" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
