"""Settings: every problem at once, each with its place and what would be right; secrets never in plain."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.loading import load, load_settings
from bridge.settings import Secret, Settings

CONFIG = Path(__file__).parents[1] / "config"
KEY = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
ENVIRON = {
    "WEBHOOK_SECRET": KEY,
    "CRM_SECRET": KEY,
    "SIM_SECRET": KEY,
    "SIM_CLIENT_SECRET": "sim-secret",
    "GATEWAY_KEY": "gateway-key",
    "CRM_API_KEY": "crm-key",
    "GENESYS_SECRET": "genesys-secret",
    "PANEL_SECRET": "panel-secret",
}


def no_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ or {}, text, "bridge.toml", no_file)
    return list(caught.value.problems)


def test_no_file_at_all_gives_the_defaults() -> None:
    assert load({}, "", "(no file)", no_file) == Settings()


def test_the_shipped_file_says_the_defaults() -> None:
    text = (CONFIG / "bridge.toml").read_text()
    assert load({}, text, "bridge.toml", no_file) == Settings()


def _uncommented(text: str) -> str:
    return "\n".join(re.sub(r"^# (?=\[|[a-z_]+ =)", "", line) for line in text.splitlines())


def test_every_key_of_the_shipped_file_is_a_setting_also_the_ones_in_comments() -> None:
    loaded = load(ENVIRON, _uncommented((CONFIG / "bridge.toml").read_text()), "bridge.toml", no_file)
    assert loaded.destinations[0].name == "crm"
    assert loaded.panel.secret is not None


def _keys(kind: type, path: str = "") -> Iterator[str]:
    for name, hint in typing.get_type_hints(kind).items():
        inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        if attrs.has(inner) and inner is not Secret:
            yield from _keys(inner, name)
        elif name != "name":
            yield f"{path}.{name}"


def test_the_shipped_file_has_every_setting() -> None:
    text = _uncommented((CONFIG / "bridge.toml").read_text())
    written = set()
    section = ""
    for line in text.splitlines():
        if found := re.match(r"\[(\w+)(?:\.(\w+))?", line):
            section = "timeouts" if found[2] == "timeouts" else found[1]
        elif found := re.match(r"(\w+) =", line):
            written.add(f"{section}.{found[1]}")
    assert set(_keys(Settings)) - written == set()


def test_the_file_for_the_simulators_is_right() -> None:
    loaded = load(ENVIRON, (CONFIG / "sim.toml").read_text(), "sim.toml", no_file)
    assert loaded.genesys.client_id == "sim-client"


def test_every_problem_is_listed_at_once_with_its_path() -> None:
    found = problems(
        """
        [http]
        port = "x"
        prot = 3
        [engine]
        kind = "oracle"
        [destinations.crm]
        secrets = ["plain text"]
        [gateway]
        timeouts = { total = true }
        """
    )
    assert found == [
        'bridge.toml: destinations.crm.secrets[0]: a secret is given as "env:NAME" or "file:PATH", never in plain',
        "bridge.toml: destinations.crm.url: is missing",
        "bridge.toml: engine.kind: must be one of 'sqlite'",
        "bridge.toml: gateway.timeouts.total: must be a number, not true or false",
        "bridge.toml: http.port: must be a whole number, not text",
        "bridge.toml: http.prot: is no setting; did you mean port?",
    ]


def test_ranges_and_addresses_are_checked_too() -> None:
    found = problems('[http]\nport = 99999\nhost = "0.0.0.0"\n[cards]\nunmask = ["NAMES"]\n[gateway]\nurl = "ftp://x"')
    assert [line.split(": ")[1] for line in found] == ["cards.unmask", "gateway.url", "http.port", "panel.secret"]


def test_a_secret_in_plain_is_refused_and_not_repeated() -> None:
    assert "hunter2" not in "".join(problems('[gateway]\nkey = "hunter2"'))


def test_a_secret_that_is_not_set_is_named() -> None:
    assert "the environment variable NOPE is not set" in problems('[gateway]\nkey = "env:NOPE"')[0]


def test_a_secret_may_be_a_file() -> None:
    loaded = load({}, '[gateway]\nkey = "file:/run/key"', "bridge.toml", lambda path: f"{path} holds this\n")
    assert loaded.gateway.key is not None
    assert loaded.gateway.key.show() == "/run/key holds this"


def test_a_secret_file_that_cannot_be_read_is_named() -> None:
    assert "/run/key cannot be read" in problems('[gateway]\nkey = "file:/run/key"')[0]


def test_a_command_that_needs_one_section_does_not_want_the_secrets_of_others() -> None:
    text = '[gateway]\nmodel = "m"\n[panel]\nsecret = "env:NOPE"'
    assert load({}, text, "bridge.toml", no_file, sections=("gateway",)).gateway.model == "m"


def test_a_secret_masks_itself() -> None:
    secret = Secret("hunter2", origin="env:KEY")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"


def test_the_environment_overrides_one_key() -> None:
    environ = {"BRIDGE_HTTP_PORT": "9000", "BRIDGE_GATEWAY_TIMEOUTS_TOTAL": "5", "BRIDGE_ENGINE_PATH": "7"}
    loaded = load(environ, "", "bridge.toml", no_file)
    assert (loaded.http.port, loaded.gateway.timeouts.total, loaded.engine.path) == (9000, 5.0, "7")


def test_the_environment_overrides_a_key_of_a_named_table() -> None:
    text = '[destinations.crm]\nurl = "https://a.example"\nsecrets = ["env:CRM_SECRET"]'
    loaded = load({**ENVIRON, "BRIDGE_DESTINATIONS_CRM_URL": "https://b.example"}, text, "bridge.toml", no_file)
    assert loaded.destinations[0].url == "https://b.example"


def test_an_override_that_names_nothing_is_a_problem() -> None:
    assert problems("", {"BRIDGE_HTTP_PROT": "1"}) == [
        "BRIDGE_HTTP_PROT: overrides no setting; did you mean BRIDGE_HTTP_PORT?"
    ]


def test_a_secret_variable_may_begin_like_an_override() -> None:
    loaded = load({"BRIDGE_KEY": "k"}, '[gateway]\nkey = "env:BRIDGE_KEY"', "bridge.toml", no_file)
    assert loaded.gateway.key is not None


def test_text_that_is_no_toml_says_where() -> None:
    assert "bridge.toml: is no TOML" in problems("[http")[0]


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BRIDGE_CONFIG names the settings file"):
        load_settings({"BRIDGE_CONFIG": str(tmp_path / "none.toml")})


VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-9, 99_999), st.sampled_from(["env:A", "x", "http", ""]), st.just(float("nan"))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return str(value)


@settings(max_examples=40)
@given(st.sampled_from(sorted(set(_keys(Settings)))), VALUES)
def test_any_value_of_any_key_is_taken_or_explained(key: str, value: object) -> None:
    section, name = key.split(".")
    section = "gateway.timeouts" if section == "timeouts" else section
    if section in {"webhooks", "destinations", "models"}:
        section += ".one"
    try:
        load({"A": "b"}, f"[{section}]\n{name} = {_toml(value)}", "bridge.toml", no_file)
    except ConfigError as error:
        for line in error.problems:
            assert line.startswith("bridge.toml: ")
