"""From a TOML text and an environment to `Settings`, or one ConfigError that lists every problem at once.

`load` is pure but for `read`, which fetches the content of a `file:` secret; `load_settings` brings the real ones.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn

from bridge.checks import problems as find_problems
from bridge.errors import ConfigError
from bridge.settings import Secret, Settings

PREFIX = "BRIDGE_"
FILE_VARIABLE = "BRIDGE_CONFIG"
PLACES = ("bridge.toml", "config/bridge.toml")
_NOTHING: Mapping[str, Any] = {}


def load_settings(environ: Mapping[str, str] = os.environ, *, sections: Collection[str] = ()) -> Settings:
    """The settings of this machine: the file that BRIDGE_CONFIG names, else bridge.toml, else config/bridge.toml.

    `sections`: only these are read, for a command that needs no others and must not want their secrets.
    """
    file = environ.get(FILE_VARIABLE) or next((place for place in PLACES if Path(place).is_file()), "")
    if not file:
        return load(environ, "", "(no file)", _read, sections=sections)
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: cannot be read: {error}; {FILE_VARIABLE} names the settings file"]) from None
    return load(environ, text, file, _read, sections=sections)


def load(
    environ: Mapping[str, str], text: str, file: str, read: Callable[[str], str], *, sections: Collection[str] = ()
) -> Settings:
    """Structure `text` (TOML) with the overrides of `environ`. Raises ConfigError with every problem."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: is no TOML: {error}"]) from None
    overrides = _override(tree, environ)
    problems = [f"{name}: overrides no setting{hint}" for name, hint in overrides.unknown]
    tree = {name: section for name, section in tree.items() if not sections or name in sections}
    settings, wrong = _structure(tree, _converter(environ, read))
    wrong += [(where, what) for where, what in find_problems(settings) if not any(_is_in(where, at) for at, _ in wrong)]
    problems += [f"{overrides.said_by.get(where, file)}: {where}: {what}" for where, what in wrong]
    if problems:
        raise ConfigError(sorted(problems))
    return settings


# --- overrides ----------------------------------------------------------------------------------------------------


@attrs.frozen
class _Overrides:
    """`said_by`: the variable of each setting that one says. `unknown`: (variable, hint) of those that say none."""

    said_by: dict[str, str]
    unknown: list[tuple[str, str]]


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> _Overrides:
    """Put BRIDGE_<SECTION>_<KEY> into the tree."""
    overrides = _Overrides({}, [])
    places = {PREFIX + "_".join(path).upper().replace("-", "_"): (path, kind) for path, kind in _leaves(tree, Settings)}
    named_as_secret = {value.removeprefix("env:") for value in _strings(tree) if value.startswith("env:")}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == FILE_VARIABLE or name in named_as_secret:
            continue
        if name not in places:
            overrides.unknown.append((name, _hint(name, places)))
            continue
        path, kind = places[name]
        _set(tree, path, environ[name] if kind in _TEXTUAL else _value(environ[name]))
        overrides.said_by[".".join(path)] = name
    return overrides


_TEXTUAL: tuple[Any, ...] = (str, Secret, Secret | None)


def _leaves(tree: Mapping[str, Any], kind: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting's path and type; the names of named tables are those that the tree has."""
    for key, hint in get_type_hints(kind).items():
        inner = tree.get(key, _NOTHING) if isinstance(tree, Mapping) else _NOTHING
        table = _named(hint)
        if table is not None:
            for name in inner if isinstance(inner, Mapping) else ():
                yield from _leaves(inner[name], table, (*path, key, name))
        elif attrs.has(hint) and hint is not Secret:
            yield from _leaves(inner, hint, (*path, key))
        elif not (key == "name" and path):
            yield (*path, key), hint


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, (dict, list)):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _strings(inner)


def _set(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _value(text: str) -> Any:
    """A TOML value where it is one, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# --- structuring --------------------------------------------------------------------------------------------------


def _converter(environ: Mapping[str, str], read: Callable[[str], str]) -> Converter:
    """Cattrs with strict hooks: by default it would turn null into "None" and "no" into True."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, words in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(kind, _exactly(kind, words))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Secret, lambda value, _: _secret(value, environ, read))
    converter.register_structure_hook_func(_is_of(Literal), _choice)
    converter.register_structure_hook_func(lambda kind: _optional(kind) is not None, _maybe(converter))
    converter.register_structure_hook_func(_is_of(tuple), _tuple(converter))
    converter.register_structure_hook_factory(
        lambda kind: attrs.has(kind) and kind is not Secret, lambda kind: _table(kind, converter)
    )
    return converter


def _structure(tree: dict[str, Any], converter: Converter) -> tuple[Settings, list[tuple[str, str]]]:
    """The settings, and (path, problem) of what has the wrong form: that is left out, so that the rest is checked too.

    An entry of a named table is left out as a whole, for what it lacks may be just that.
    """
    try:
        return converter.structure(tree, Settings), []
    except ClassValidationError as error:
        wrong = list(_explain(error, ""))
    bad = {where for where, _ in wrong}
    rest = {
        section: {key: value for key, value in keys.items() if not any(_is_in(at, f"{section}.{key}") for at in bad)}
        for section, keys in tree.items()
        if section not in bad
    }
    return converter.structure(rest, Settings), wrong


def _is_in(where: str, outer: str) -> bool:
    """Whether a path is another one or lies in it."""
    return where == outer or where.startswith((f"{outer}.", f"{outer}["))


def _is_of(outer: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is outer


def _exactly(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"must be {words}, not {_describe(value)}")
        return value

    return hook


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN
        raise ValueError(f"must be a number, not {_describe(value)}")
    return float(value)


def _choice(value: Any, kind: Any) -> Any:
    allowed = get_args(kind)
    if value not in allowed:
        raise ValueError("must be one of " + ", ".join(map(repr, allowed)))
    return value


def _secret(value: Any, environ: Mapping[str, str], read: Callable[[str], str]) -> Secret:
    """`env:NAME` or `file:PATH`. A value in plain is refused, and not repeated."""
    way, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if way == "env" and name:
        found = environ.get(name, "")
        if not found:
            raise ValueError(f"the environment variable {name} is not set")
        return Secret(found, origin=value)
    if way == "file" and name:
        try:
            found = read(name).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
        if not found:
            raise ValueError(f"{name} is empty")
        return Secret(found, origin=value)
    raise ValueError('a secret is given as "env:NAME" or "file:PATH", never in plain')


def _maybe(converter: Converter) -> Callable[[Any, Any], Any]:
    return lambda value, kind: converter.structure(value, _optional(kind))


def _tuple(converter: Converter) -> Callable[[Any, Any], Any]:
    """Lists; and tables, for what has names: `[models.NAME]` and `headers = { NAME = … }`."""

    def hook(value: Any, kind: Any) -> Any:
        table, inner = _named(kind), get_args(kind)[0]
        pairs: Any = get_origin(inner)
        if table is None and pairs is not tuple:
            if not isinstance(value, list):
                raise ValueError(f"must be a list, not {_describe(value)}")
            return tuple(converter.structure(value, _of(list, inner)))
        if not isinstance(value, dict):
            raise ValueError(f"must be a table of named entries, not {_describe(value)}")  # noqa: TRY004 - as all that is wrong
        if table is None:
            return tuple(converter.structure(value, _of(dict, str, get_args(inner)[1])).items())
        named = {name: {"name": name, **entry} if isinstance(entry, dict) else entry for name, entry in value.items()}
        return tuple(converter.structure(named, _of(dict, str, table)).values())

    return hook


def _of(outer: Any, *inner: Any) -> Any:
    """`outer[inner]`, made at run time."""
    return GenericAlias(outer, inner)


def _table(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be a table, not {_describe(value)}")  # noqa: TRY004 - as all that is wrong
        return structure(value, kind)

    return hook


def _named(hint: Any) -> type | None:
    """The class of `tuple[Class, ...]` that is written as tables with names."""
    inner = get_args(hint)[0] if get_origin(hint) is tuple else None
    return inner if inner is not None and attrs.has(inner) and inner is not Secret else None


def _optional(hint: Any) -> Any:
    """X of `X | None`."""
    origin: Any = get_origin(hint)
    if origin is not Union and origin is not UnionType:
        return None
    return next((inner for inner in get_args(hint) if inner is not type(None)), None)


# --- explaining ---------------------------------------------------------------------------------------------------


def _explain(error: BaseException, where: str) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) of every leaf of cattrs' error groups."""
    if isinstance(error, ClassValidationError):
        noted, rest = error.group_exceptions()
        for inner, note in noted:
            yield from _explain(inner, f"{where}.{note.name}".lstrip("."))
        for inner in rest:
            yield from _explain(inner, where)
    elif isinstance(error, IterableValidationError):
        listed, rest = error.group_exceptions()
        for inner, at in listed:
            yield from _explain(inner, f"{where}.{at.index}" if isinstance(at.index, str) else f"{where}[{at.index}]")
        for inner in rest:
            yield from _explain(inner, where)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [name for name in attrs.fields_dict(error.cl) if name != "name"]
        for key in sorted(error.extra_fields):
            yield f"{where}.{key}".lstrip("."), "is no setting" + _hint(key, known)
    elif isinstance(error, KeyError):
        yield where, "is missing"
    else:
        yield where, str(error)


def _hint(wrong: str, known: Any) -> str:
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}"


def _describe(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
