"""Sources as URLs, for environment variables and command lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from stream_assets.core.lateness import parse_lateness
from stream_assets.errors import DeclarationError
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import Source
from stream_assets.sources.synthetic import SyntheticEvents


def source_from_url(url: str) -> Source:
    """Return the source that `url` declares.

    `synthetic:?rate=100&seed=7`, `file:///folder?format=jsonl&id=event_id&time=event_time&lateness=2min`. The
    options are the fields of `SyntheticEvents` and `FileEvents`; `lateness` is written like `2min`, or
    `auto(p=0.999,max=1h)`.

    Raises:
        DeclarationError: terminal; an unknown scheme or option, or a value that is none. The message names no
            value of an unknown scheme or option, which may be a credential.
    """
    try:
        parts = urlsplit(url.strip())
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise DeclarationError(f"the source's URL is not understood: write it like {_EXAMPLES}") from None
    make = _SCHEMES.get(parts.scheme)
    if make is None:
        what = f"scheme {parts.scheme!r}" if parts.scheme else "a URL without a scheme"
        raise DeclarationError(f"{what} is no source: known are {_EXAMPLES}")
    names = [name for name, _ in options]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{parts.scheme}: option {name!r} is given twice")
    if parts.fragment:
        raise DeclarationError(f"{parts.scheme}: write '#' in a URL as %23")
    return make(parts.netloc, unquote(parts.path), dict(options))


def _synthetic(host: str, path: str, options: dict[str, str]) -> Source:
    if host or path:
        raise DeclarationError("synthetic: takes options alone: write synthetic:?rate=100&seed=7")
    return SyntheticEvents(**_options("synthetic", SyntheticEvents, options))


def _file(host: str, path: str, options: dict[str, str]) -> Source:
    if host not in ("", "localhost"):
        raise DeclarationError("file: names a folder of this machine, with three slashes: write file:///folder")
    if not path.startswith("/"):
        raise DeclarationError("file: needs an absolute path: write file:///folder")
    if options.get("arrival") == "":
        options = {name: value for name, value in options.items() if name != "arrival"}
    return FileEvents(path, **_options("file", FileEvents, options, without=("path",)))


def _options(scheme: str, kind: type, options: dict[str, str], without: tuple[str, ...] = ()) -> dict[str, Any]:
    known = {field.name: field.default for field in fields(kind) if field.name not in without}
    for name in options:
        if name not in known:
            path = "; a '?' in a path is written %3F" if "/" in name or "?" in name else ""
            raise DeclarationError(f"{scheme}: there is no option {name!r}: known are {', '.join(known)}{path}")
    return {name: _value(scheme, name, text, known[name]) for name, text in options.items()}


def _value(scheme: str, name: str, text: str, default: object) -> object:
    try:
        if name == "lateness":
            return parse_lateness(text, what=f"{scheme}: {name}")
        if isinstance(default, int):
            return int(text)
        return float(text) if isinstance(default, float) else text
    except ValueError:
        raise DeclarationError(f"{scheme}: {name} must be a number, not {text!r}") from None


_SCHEMES: dict[str, Callable[[str, str, dict[str, str]], Source]] = {"synthetic": _synthetic, "file": _file}
_EXAMPLES = "synthetic:?rate=100&seed=7 and file:///folder?format=jsonl&id=event_id&time=event_time"
