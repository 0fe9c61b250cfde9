"""Load a file into a validated model, or into one clear error a mistake: file, line, value, what was expected, what to do next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.base import NAME
from config.environment import Environment
from config.errors import ConfigError, Location, Problem
from config.reading.problems import problems
from config.reading.source import YamlFile
from config.reading.suggest import did_you_mean
from config.rules import environment_rules, model_rules
from config.rules.finding import Finding
from config.schema import ModelFile

MODELS = Path(__file__).parent / "models"
ENVIRONMENTS = Path(__file__).parent / "environments"
_Model = TypeVar("_Model", bound=BaseModel)


def model_names() -> list[str]:
    """Return the names of the models that this project releases."""
    return _names(MODELS)


def load_model(name_or_path: str) -> tuple[str, ModelFile]:
    """Load a model file.

    Args:
        name_or_path: Its name (`qwen3-32b`), or its path: anything with a slash or an ending of YAML's.

    Returns:
        The model's name and the file's content.

    Raises:
        ConfigError: The file is not there, or one problem for each mistake in it.

    Example:
        >>> name, model = load_model("qwen3-32b")
        >>> name, model.serving.tensor_parallel_size
        ('qwen3-32b', 8)
    """
    path = find_model(name_or_path)
    source, content, _ = inspect_model(path)
    return source.path.stem, content


def inspect_model(path: Path) -> tuple[YamlFile, ModelFile, list[Problem]]:
    """Load a model file by its path.

    Returns:
        The file as written, its content, and what works and is still worth a thought.

    Raises:
        ConfigError: As `load_model`.
    """
    if not re.fullmatch(NAME.pattern, path.stem):
        message = f"the file's name is the model's name, and {path.stem!r} will not do; expected {NAME.words}"
        raise ConfigError([Problem(path, message, code="file-name")])
    source = YamlFile(path)
    content = _validated(source, ModelFile)
    return source, content, _judged(source, model_rules.findings(content))


def inspect_environment(path: Path) -> tuple[YamlFile, Environment, list[Problem]]:
    """Load an environment file by its path; what it returns and raises is as of `inspect_model`."""
    source = YamlFile(path)
    content = _validated(source, Environment)
    return source, content, _judged(source, environment_rules.findings(content))


def problem_in(name_or_path: str, location: Location, message: str) -> Problem:
    """Describe what only a Hub or an account could find wrong with a value of a model file that loads, with the value's line."""
    source = YamlFile(find_model(name_or_path))
    return _placed(source, Finding(location, message, "hub"))


def load_environment(name_or_path: str) -> Environment:
    """Load an environment file by its name (`local`, `aws`) or its path; ConfigError as `load_model`."""
    return inspect_environment(_find(name_or_path, ENVIRONMENTS, "environment"))[1]


def find_model(name_or_path: str) -> Path:
    """Return the path of a model file, or of any file that is named by its path; ConfigError when there is none."""
    return _find(name_or_path, MODELS, "model")


def _find(name_or_path: str, directory: Path, what: str) -> Path:
    looks_like_path = "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))
    path = Path(name_or_path) if looks_like_path else directory / f"{name_or_path}.yaml"
    if not path.is_file() and "/" not in name_or_path:
        path = directory / f"{path.stem}.yaml"  # `qwen3-32b.yaml`, from anywhere
    if path.is_file():
        return _shown(path)
    known = _names(directory)
    hint = did_you_mean(path.stem, known)
    raise ConfigError([Problem(_shown(path), f"there is no such {what} file; {hint}Known: {', '.join(known)}", code="no-file")])


def _names(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.yaml"))


def _shown(path: Path) -> Path:
    """Return the path as a person would type it from here."""
    try:
        absolute = path.resolve()
    except (OSError, RuntimeError):  # links in a circle; RuntimeError before Python 3.13
        return path
    here = Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path


def _validated(source: YamlFile, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError(problems(source, error, model)) from None


def _judged(source: YamlFile, found: list[Finding]) -> list[Problem]:
    """Return the warnings; ConfigError when something is wrong."""
    wrong = [_placed(source, finding) for finding in found if finding.is_error]
    if wrong:
        raise ConfigError(wrong)
    return [_placed(source, finding) for finding in found]


def _placed(source: YamlFile, finding: Finding) -> Problem:
    line, column = source.line_of(finding.location), source.column_of(finding.location)
    return Problem(source.path, str(finding), line, column, finding.code)
