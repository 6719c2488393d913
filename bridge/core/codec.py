"""Events as JSON bytes and back, for the log of the engine.

Strict, since what is stored is ours: null never becomes "None", "no" never becomes True, 1 is no string, True is no
number, and a field we do not know does not pass. A field that an older event lacks takes its default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args, get_origin

import orjson
from cattrs import BaseValidationError, Converter, transform_error

from bridge.core import events
from bridge.core.genesys.envelope import decode
from bridge.errors import PayloadError

KINDS: dict[str, type[events.Event]] = {
    kind.__name__: kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)
}
"""Class by name."""


def dump(event: events.Event) -> tuple[str, bytes]:
    """The event's kind (its class name) and its fields as JSON. PayloadError for what JSON cannot hold."""
    try:
        return type(event).__name__, orjson.dumps(_CONVERTER.unstructure(event))
    except (orjson.JSONEncodeError, ValueError) as error:
        raise PayloadError(f"{type(event).__name__} cannot be kept as JSON: {error}") from None


def load(kind: str, body: bytes) -> events.Event:
    """The event that `dump` made these of. PayloadError for anything else."""
    wanted = KINDS.get(kind)
    if wanted is None:
        raise PayloadError(f"no event is called {kind!r}; there are {', '.join(sorted(KINDS))}")
    found = decode(body)
    try:
        return _CONVERTER.structure(found, wanted)
    except BaseValidationError as error:
        problems = "; ".join(transform_error(error, path=kind))
        raise PayloadError(f"this is no {kind}: {problems}") from None


def _exactly(*types: type) -> Callable[[Any, Any], Any]:
    """Take a value whose type is one of these, not a subclass: True is no int."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) not in types:
            raise TypeError
        return value

    return structure


def _items(converter: Converter, wanted: Any) -> Callable[[Any, Any], Any]:
    """Take a list for a tuple of any length: by itself cattrs would cut a string into letters."""
    item = get_args(wanted)[0]
    hook = converter.get_structure_hook(item)

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise TypeError
        return tuple(hook(one, item) for one in value)

    return structure


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


def _is_json_object(wanted: Any) -> bool:
    return bool(wanted == dict[str, Any])


def _is_tuple(wanted: Any) -> bool:
    return get_origin(wanted) is tuple


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for plain in (str, int, bool):
        converter.register_structure_hook(plain, _exactly(plain))
    converter.register_structure_hook(float, _exactly(float, int))
    converter.register_unstructure_hook(float, _finite)
    converter.register_structure_hook_func(_is_json_object, _exactly(dict))
    # As it is, since orjson takes it so: to walk through it would make dump twenty times slower.
    converter.register_unstructure_hook_func(_is_json_object, lambda body: body)

    converter.register_structure_hook_factory(_is_tuple, lambda wanted: _items(converter, wanted))
    return converter


_CONVERTER = _make_converter()
