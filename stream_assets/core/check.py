"""One finding of an examination: what is so, how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        todo: what to do about it; empty where it is fine.
    """

    name: str
    level: Level
    said: str
    todo: str = ""
