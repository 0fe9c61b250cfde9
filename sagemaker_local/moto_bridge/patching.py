"""Functions of ours in place of moto's, checked: by mypy against the signature that moto gives, and at run time against its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def replace_method(owner: type, original: Callable[P, T], replacement: Callable[P, T]) -> None:
    """Put a function in place of a method of moto's.

    Args:
        owner: the class that has the method.
        original: the method, as ``owner.method``.
        replacement: takes what the method takes, and gives what it gives.

    Raises:
        AttributeError: this class has no method of that name itself: moto has changed.
    """
    name = original.__name__
    if name not in vars(owner):
        raise AttributeError(f"{owner.__module__}.{owner.__qualname__} has no {name} to replace: which moto is this?")
    setattr(owner, name, functools.wraps(original)(replacement))


def add_method(owner: type, name: str, method: Callable[P, T]) -> None:
    """Give a class of moto's a method that it lacks."""
    setattr(owner, name, method)
