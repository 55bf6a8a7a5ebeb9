"""The hash of a consumer's code: what it does, not how it is written down."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

_CONSTANTS = (
    type(None), bool, int, float, complex, str, bytes, date, time, timedelta, Decimal, Enum, re.Pattern
)  # fmt: skip


def code_hash(function: Callable[..., Any], **declared: Any) -> str:
    """Return 12 hexadecimal digits that change when what `function` does may have changed.

    It covers the function's syntax without docstring, comments, layout, decorators and annotations; the functions and
    classes of the same project that it names, in turn; the constants that it names; and what was `declared` with it.
    Names are looked up when this is called: what stands below the function in its file must have been run by then.
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
    parts.append(f"{getattr(value, '__qualname__', '')}: {_syntax(value)}")
    for name, named in _names(value, project):
        meant = _function_of(named)
        if isinstance(meant, (FunctionType, type)) and _project_of(meant) == project:
            _describe(meant, parts, seen, project)
        elif _is_constant(named):
            parts.append(f"{name}={_stable(named)}")


def _function_of(value: Any) -> Any:
    """Return the function behind a decorator (`lru_cache`, `consumer`), and anything else as it is."""
    behind = getattr(value, "function", None)
    return behind if isinstance(behind, FunctionType) else inspect.unwrap(value) if callable(value) else value


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
    # As text: the nodes themselves have other fields in every release of Python.
    return ast.unparse(tree)


def _names(value: Any, project: str) -> Iterator[tuple[str, Any]]:
    """Yield what a function or class names outside itself: globals, closed-over values, attributes of modules."""
    if isinstance(value, type):
        yield from ((base.__name__, base) for base in value.__bases__)
        methods = (getattr(m, "__func__", getattr(m, "fget", m)) for m in vars(value).values())
        for method in methods:
            if isinstance(method, FunctionType):
                yield from _names(method, project)
    if not isinstance(value, FunctionType):
        return
    yield from ((f"default {n}", default) for n, default in enumerate(value.__defaults__ or ()))
    yield from sorted((value.__kwdefaults__ or {}).items())
    closed = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
    for name, cell in sorted(closed.items()):
        yield name, cell.cell_contents
    for code in _codes(value.__code__):
        for name in sorted(set(code.co_names)):
            if name in value.__globals__:
                yield name, value.__globals__[name]
                yield from _attributes(name, value.__globals__[name], code, project)


def _attributes(name: str, module: Any, code: CodeType, project: str) -> Iterator[tuple[str, Any]]:
    """Yield what `code` may take from a module of the project, or from a module in it."""
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] != project:
        return
    for attribute in sorted(set(code.co_names)):
        named = vars(module).get(attribute)
        if named is not None and named is not module:
            yield f"{name}.{attribute}", named
            if isinstance(named, ModuleType) and named.__name__.startswith(module.__name__ + "."):
                yield from _attributes(f"{name}.{attribute}", named, code, project)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_constant(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(_is_constant(v) for v in value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return all(_is_constant(k) and _is_constant(v) for k, v in value.items())  # pyright: ignore[reportUnknownVariableType]
    return isinstance(value, _CONSTANTS)


def _stable(value: Any) -> str:
    """Say a constant in the same words in every process: sets have another order in each."""
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(_stable, value)))}}}"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_stable, value))}]"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_stable(k)}: {_stable(v)}' for k, v in value.items())}}}"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, re.Pattern):
        return f"{value.pattern!r} {value.flags}"  # pyright: ignore[reportUnknownMemberType]
    return repr(value)
