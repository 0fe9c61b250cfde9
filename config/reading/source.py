"""YAML as it was written: the data, and the line number of each key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from config.errors import ConfigError, Location, Problem
from config.reading import yaml_syntax
from config.reading.yaml_scalars import Loader

MAX_FILE_BYTES = 256 * 1024
"""Model and environment files have some kilobytes; PyYAML reads about 100 kB a second."""
_MAX_DEPTH = 32
_MAX_VALUES = 20_000
"""How many values a file may have, those behind its aliases counted each time."""


class YamlFile:
    """One YAML file: `data`, and `line_of` for what validation finds wrong with it."""

    def __init__(self, path: Path) -> None:
        """Read `path`; ConfigError when it is missing, too large or too deep, not YAML, not a mapping, or gives a key twice."""
        self.path = path
        try:
            text = _read(path).decode()
            yaml_syntax.refuse_conflict_markers(path, text)
            _check_depth(path, text)
            self._root = yaml.compose(text, Loader=Loader)
            _count(path, self._root)
            self.data: Any = Loader("").construct_document(self._root) if self._root else None
        except OSError as error:
            raise ConfigError([Problem(path, f"cannot be read: {error.strerror}")]) from error
        except UnicodeDecodeError as error:
            raise ConfigError([Problem(path, "is not UTF-8 text")]) from error
        except yaml.MarkedYAMLError as error:
            raise ConfigError([yaml_syntax.problem(path, text, error)]) from error
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError([Problem(path, f"is not YAML: {error}", code="yaml-syntax")]) from error
        if not isinstance(self._root, yaml.MappingNode):
            raise ConfigError([Problem(path, _not_a_mapping(self._root), 1)])
        duplicates = list(_duplicates(self._root))
        if duplicates:
            raise ConfigError(
                [
                    Problem(path, f"the key {key!r} stands here a second time; keep one of the two", line, code="duplicate-key")
                    for key, line in duplicates
                ]
            )

    def line_of(self, location: Location) -> int:
        """Return the line of the deepest part of `location` that is in the file: the key's own, or its parent's if it is missing.

        Parts that are no key of the file (pydantic names the member of a union there) are passed over.
        """
        return self._mark(location).line + 1

    def column_of(self, location: Location) -> int:
        """Return the column, from 1, of what `line_of` returns the line of."""
        return self._mark(location).column + 1

    def text_at(self, location: Location) -> str | None:
        """Return the scalar there as it is written, without its quotes; None where there is no scalar of the file."""
        node: yaml.Node = self._root  # type: ignore[assignment]
        for part in location:
            step = _child(node, part)
            node = step[0] if step is not None else node
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def _mark(self, location: Location) -> yaml.Mark:
        node: yaml.Node = self._root  # type: ignore[assignment]  # a MappingNode: __init__ saw to it
        mark = node.start_mark
        for part in location:
            step = _child(node, part)
            if step is not None:
                node, mark = step
        return mark


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        body = file.read(MAX_FILE_BYTES + 1)
    if len(body) > MAX_FILE_BYTES:
        raise ConfigError(
            [Problem(path, f"has more than {MAX_FILE_BYTES:,} bytes; is it the right file? one of some kilobytes is expected")]
        )
    return body


def _check_depth(path: Path, text: str) -> None:
    """Refuse values nested deeper than any setting is: what composes and validates them would run out of stack."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ConfigError([Problem(path, f"is nested deeper than {_MAX_DEPTH} levels here; no setting is", _line(event))])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(event: yaml.Event) -> int | None:
    return event.start_mark.line + 1 if event.start_mark else None


def _count(path: Path, root: yaml.Node | None) -> None:
    """Refuse an alias inside its own anchor, and aliases of aliases that would become millions of values."""
    sizes: dict[int, int] = {}
    counted: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in counted:
            return sizes[id(node)]
        if id(node) in sizes:
            raise ConfigError([Problem(path, "an alias here stands inside its own anchor", node.start_mark.line + 1)])
        sizes[id(node)] = 0
        found = 1 + sum(map(size, _children(node)))
        if found > _MAX_VALUES:
            message = f"has more than {_MAX_VALUES:,} values below this line, counted with those behind aliases"
            raise ConfigError([Problem(path, message, node.start_mark.line + 1)])
        sizes[id(node)] = found
        counted.add(id(node))
        return found

    if root is not None:
        size(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """Return the node under `part` and where it begins; None when there is none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item, item.start_mark
    return None


def _not_a_mapping(root: yaml.Node | None) -> str:
    expected = "expected keys with values, as in `approval: manual`; config/models has files to copy"
    if root is None:
        return f"is empty; {expected}"
    return f"is {'a list' if isinstance(root, yaml.SequenceNode) else 'one text'}; {expected}"


def _duplicates(node: yaml.Node) -> list[tuple[str, int]]:
    """Return keys given twice in one mapping, with the line of the second: YAML forbids them, PyYAML keeps the last in silence."""
    found: list[tuple[str, int]] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found.append((key.value, key.start_mark.line + 1))
            seen.add(key.value)
            found += _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found += _duplicates(item)
    return found
