"""The files that come with the bridge: prompts and scenarios, in a checkout or inside an installed package."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bridge.core.prompts import Prompt, parse_prompt
from bridge.errors import ConfigError

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of a shipped file or folder, such as `prompts`."""
    inside = _PACKAGE / "_config" / name
    return inside if inside.exists() else _PACKAGE.parent / "config" / name


def load_prompts(folder: str = "") -> dict[str, Prompt]:
    """Every prompt file: the shipped ones, and those of `folder`, which win. Raises ConfigError with all problems."""
    files = {path.stem: path for place in (shipped("prompts"), Path(folder or ".")) for path in _toml(place, folder)}
    prompts, problems = {}, []
    for name, path in sorted(files.items()):
        try:
            prompts[name] = parse_prompt(name, tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            problems.append(f"{path}: cannot be read: {error}")
        except ConfigError as error:
            problems += [f"{path}{problem.removeprefix(f'prompts/{name}.toml')}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return prompts


def _toml(place: Path, folder: str) -> list[Path]:
    if place == shipped("prompts") or folder:
        if not place.is_dir():
            raise ConfigError([f"prompts.path: {place} is no folder"])
        return sorted(place.glob("*.toml"))
    return []
