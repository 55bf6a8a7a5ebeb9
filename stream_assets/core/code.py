"""The hash of a consumer's code: what it does, not how it is written down."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

_CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def code_hash(function: Callable[..., Any], **declared: Any) -> str:
    """Return 12 hexadecimal digits that change when what `function` does may have changed.

    It covers the function's syntax without docstring, comments, layout, decorators and annotations; the functions and
    classes of the same project that it names, in turn; the constants that it names; and what was `declared` with it.
    """
    parts: list[str] = [f"{key}={declared[key]!s}" for key in sorted(declared) if declared[key]]
    _describe(function, parts, set(), _project_of(function))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _project_of(value: Any) -> str:
    return str(getattr(value, "__module__", "") or "").partition(".")[0]


def _describe(value: Any, parts: list[str], seen: set[int], project: str) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    tree = _syntax(value)
    parts.append(f"{getattr(value, '__qualname__', '')}: {tree}")
    for name, named in _names(value):
        if isinstance(named, (FunctionType, type)) and _project_of(named) == project:
            _describe(named, parts, seen, project)
        elif _is_constant(named):
            parts.append(f"{name}={_stable(named)}")


def _syntax(value: Any) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, SyntaxError, TypeError):
        code: CodeType | None = getattr(value, "__code__", None)
        return f"{code.co_code.hex()} {code.co_consts!r}" if code else repr(value)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.decorator_list = []
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.dump(tree, include_attributes=False)


def _names(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function names outside itself: globals, closed-over values, and attributes of modules."""
    if not isinstance(value, FunctionType):
        return
    closed = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
    for name, cell in sorted(closed.items()):
        yield name, cell.cell_contents
    for code in _codes(value.__code__):
        for name in sorted(set(code.co_names)):
            if name not in value.__globals__:
                continue
            named = value.__globals__[name]
            yield name, named
            if isinstance(named, ModuleType) and _project_of_module(named) == _project_of(value):
                for attribute in sorted(set(code.co_names)):
                    if hasattr(named, attribute):
                        yield f"{name}.{attribute}", getattr(named, attribute)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _project_of_module(module: ModuleType) -> str:
    return module.__name__.partition(".")[0]


def _is_constant(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(_is_constant(v) for v in value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return all(_is_constant(k) and _is_constant(v) for k, v in value.items())  # pyright: ignore[reportUnknownVariableType]
    return isinstance(value, _CONSTANTS)


def _stable(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(repr, value)))  # pyright: ignore[reportUnknownArgumentType]
    return repr(value)
