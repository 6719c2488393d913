"""The oracle is tiktoken. Its vocabulary files are rebuilt from rs-bpe's and proved by tiktoken's own checksums."""

# ruff: noqa: RUF001 - texts of many scripts are the matter here

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

import pytest
import regex  # type: ignore[import-untyped]  # has no stubs
import tiktoken
import tiktoken_ext.openai_public as public  # type: ignore[import-untyped]  # has no stubs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rs_bpe.bpe import openai  # type: ignore[import-not-found]  # a compiled module without stubs

from bridge.core.tokens import (
    _LAST_BORDER,
    LONGEST_TAIL,
    Count,
    StreamCounter,
    Vocabulary,
    message_tokens,
    vocabulary,
    vocabulary_of,
)

Oracle = Callable[[str], int]
SIZES = {"o200k": 199_998, "cl100k": 100_256}
NAMES = ["o200k", "cl100k"]
unhurried = settings(deadline=None)

# What pre-tokens are made of: cases, scripts, marks, digits, white space of all kinds, apostrophes, signs, halves.
BITS = [
    *("a", "B", "é", "ß", "ǅ", "ʰ", "漢", "ا", "\u0301", "0", "1234", "²", "Ⅷ", "hello", "World", "THE", "x" * 40),
    *(" ", "  ", "\n", "\r", "\r\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u3000", "\u200b", "\0"),
    *(
        "'",
        "'s",
        "'LL",
        "’",
        "'ſ",
        "!",
        "/",
        "{",
        '":',
        "。",
        "_",
        "<|endoftext|>",
        "👩",
        "\u200d",
        "🏽",
        "\ud83d",
        "\udc69",
    ),
]
texts = st.one_of(st.lists(st.sampled_from(BITS), max_size=40).map("".join), st.text(max_size=60))


def rebuilt(name: str) -> Iterator[tuple[bytes, int]]:
    ranks = getattr(openai, f"{name}_base")().bpe()
    return ((ranks.decode_tokens([token]), token) for token in range(SIZES[name]))


def checked(ranks: dict[bytes, int], _url: str, expected_hash: str) -> dict[bytes, int]:
    lines = b"".join(b"%b %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items())
    assert hashlib.sha256(lines).hexdigest() == expected_hash
    return ranks


@pytest.fixture(scope="session")
def oracles() -> dict[str, tiktoken.Encoding]:
    """Takes 0.5 s once: 300,000 tokens are read and hashed."""
    made = {}
    for name in NAMES:
        with patch.object(public, "load_tiktoken_bpe", partial(checked, dict(rebuilt(name)))):
            made[name] = tiktoken.Encoding(**getattr(public, f"{name}_base")())
    return made


@pytest.fixture(scope="session", params=NAMES)
def pair(request: pytest.FixtureRequest, oracles: dict[str, tiktoken.Encoding]) -> tuple[Vocabulary, Oracle]:
    """A vocabulary of ours and tiktoken's count."""
    oracle = oracles[request.param]
    return vocabulary(request.param), lambda text: len(oracle.encode_ordinary(text))


@unhurried
@given(text=texts)
@example("<|endoftext|><|fim_prefix|><|im_start|>")
@example("a\0b\r\n\r\n\tc \ud800 \ud83d\ude00 👨‍👩‍👧 can't we'LL")
def test_count_equals_tiktoken(pair: tuple[Vocabulary, Oracle], text: str) -> None:
    ours, oracle = pair
    assert ours.count(text) == oracle(text)


@pytest.mark.slow  # 65,000 characters, one by one, each beside letters, digits, signs and white space
def test_count_equals_tiktoken_for_every_character_of_the_basic_plane(pair: tuple[Vocabulary, Oracle]) -> None:
    ours, oracle = pair
    around = (f"a{chr(code)}Ab 1{chr(code)}'S {chr(code)}\n" for code in range(0x10000))
    assert [text for text in around if ours.count(text) != oracle(text)] == []


@unhurried
@given(text=texts, cuts=st.data())
def test_stream_count_equals_tiktoken_after_every_piece(
    pair: tuple[Vocabulary, Oracle], text: str, cuts: st.DataObject
) -> None:
    ours, oracle = pair
    counter, start = StreamCounter(ours), 0
    while start < len(text):
        end = cuts.draw(st.integers(start + 1, min(start + 12, len(text))))
        assert counter.feed(text[start:end]) == oracle(text[:end]) == counter.tokens
        start = end


@pytest.mark.parametrize(
    "text", ["Yes!\n  a", "a \n b\n\n c", "?\n\n  I", "(" + "x" * 70 + "'s", "y" * 70 + "It's, " + "z" * 70 + ".\n/"]
)
def test_stream_count_goes_over_borders_that_are_none(pair: tuple[Vocabulary, Oracle], text: str) -> None:
    ours, oracle = pair
    counter = StreamCounter(ours)
    assert [counter.feed(char) for char in text] == [oracle(text[:end]) for end in range(1, len(text) + 1)]


@pytest.mark.parametrize(("bit", "after"), [("'s", "tion"), ("١١", "२०")])
def test_run_whose_division_goes_on_from_its_beginning_is_not_settled_inside(bit: str, after: str) -> None:
    ours = vocabulary("o200k")
    counter, text = StreamCounter(ours), "!" + bit * 600 + after
    for start in range(0, len(text), 5):
        assert counter.feed(text[start : start + 5]) == ours.count(text[: start + 5])


def test_count_of_a_long_indented_piece_takes_linear_time() -> None:
    counter = StreamCounter(vocabulary("o200k"))
    text = "{\n x\n" * 60_000
    assert counter.feed(text) == vocabulary("o200k").count(text)


KEPT_WHOLE = ["'s", "١"]
RUNS = [
    "a",
    "漢",
    "aB",
    "a漢B",
    ".",
    "=-",
    "\n",
    " ",
    "\n ",
    "a\u0301",
    "👩\u200d",
    "'s",
    "ก็า",
    "\ud83d",
    "\ud83d\udc69",
    "ab1",
    "x, ",
]


@pytest.mark.slow  # the oracle counts 4,000 characters twenty times
@pytest.mark.parametrize("bit", RUNS)
def test_stream_count_of_a_run_without_borders_is_exact_and_its_tail_bounded(
    pair: tuple[Vocabulary, Oracle], bit: str
) -> None:
    ours, oracle = pair
    text = "Is it " + (bit * 4000)[:2500] + "Bc 's " + (bit * 4000)[:1500] + "end"
    counter, longest = StreamCounter(ours), 0
    for start in range(0, len(text), 5):
        counter.feed(text[start : start + 5])
        longest = max(longest, len(counter._tail))
        if start % 200 == 0:
            assert counter.tokens == oracle(text[: start + 5])
    assert counter.tokens == oracle(text)
    assert longest <= LONGEST_TAIL or bit in KEPT_WHOLE


@pytest.mark.slow  # every character there is
def test_a_character_that_may_stand_before_a_settled_sign_is_a_letter_or_a_digit() -> None:
    wrong = [
        code
        for code in range(0x110000)
        if _LAST_BORDER.match(chr(code) + ".") and not regex.match(r"[\p{L}\p{N}]", chr(code))
    ]
    assert wrong == []


@unhurried
@given(before=texts, piece=texts, room=st.integers(0, 30))
@example(before="", piece="x👩\u200d👩 e\u0301e\u0301", room=2)
def test_cut_keeps_the_longest_beginning_within_the_limit(
    pair: tuple[Vocabulary, Oracle], before: str, piece: str, room: int
) -> None:
    ours, oracle = pair
    counter = StreamCounter(ours)
    limit = counter.feed(before) + room
    piece = piece[:64]
    kept = counter.cut(piece, limit)
    fitting = [end for end in range(len(piece) + 1) if oracle(before + piece[:end]) <= limit]
    assert piece.startswith(kept)
    assert len(kept) in fitting or kept == ""
    assert all(is_parted(piece, end) for end in fitting if end > len(kept))


def is_parted(text: str, at: int) -> bool:
    return at < len(text) and (
        regex.match(r"[\p{M}\u200d\U0001f3fb-\U0001f3ff\udc00-\udfff]", text[at]) is not None
        or text[at - 1] == "\u200d"
    )


def test_cut_of_a_long_piece_fills_the_limit() -> None:
    counter = StreamCounter(vocabulary("o200k"))
    piece = "The caller asks about a transfer. " * 400
    kept = counter.cut(piece, 1000)
    assert counter.feed(kept) == 1000
    assert counter.feed(piece[len(kept) : len(kept) + 12]) > 1000


@pytest.mark.parametrize("seen", ["e\u0301", "👩\u200d👩", "👍🏽", "\ud83d\ude00"])
def test_cut_never_parts_what_is_seen_as_one_character(pair: tuple[Vocabulary, Oracle], seen: str) -> None:
    counter, piece = StreamCounter(pair[0]), "ab " + seen
    kept = {len(counter.cut(piece, limit)) for limit in range(20)}
    assert kept <= {0, 1, 2, 3, len(piece)}
    assert len(piece) in kept


def test_cut_of_a_long_piece_never_parts_a_character_either() -> None:
    counter, piece = StreamCounter(vocabulary("o200k")), "a b " * 15 + "abce" + "\u0301" * 90
    assert counter.cut(piece, vocabulary("o200k").count(piece[:64])) == piece[:63]


def test_what_one_token_holds_is_never_cut_below_nothing() -> None:
    counter = StreamCounter(vocabulary("o200k"))
    counter.feed("already over")
    assert counter.cut(" more", 1) == ""


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "o200k"),
        ("openai/gpt-4.1", "o200k"),
        ("ft:gpt-4o-2024-08-06:bank::abc", "o200k"),
        ("GPT-5.1", "o200k"),
        ("o3", "o200k"),
        ("o4-mini", "o200k"),
        ("gpt-4", "cl100k"),
        ("azure/gpt-4-turbo-2024-04-09", "cl100k"),
        ("gpt-35-turbo", "cl100k"),
        ("text-embedding-3-small", "cl100k"),
        ("claude-sonnet-4-5", "estimate"),
        ("meta/llama-3-70b", "estimate"),
        ("o1000", "estimate"),
        ("", "estimate"),
    ],
)
def test_vocabulary_follows_the_model_name(model: str, name: str) -> None:
    assert vocabulary_of(model).name == name


PUBLIC = {"o200k_base": "o200k", "o200k_harmony": "o200k", "cl100k_base": "cl100k"}
CHAT = [
    (name, code)
    for name, code in tiktoken.model.MODEL_TO_ENCODING.items()
    if name.startswith(("gpt-3", "gpt-4", "gpt-5", "o"))
]


@pytest.mark.parametrize(("model", "encoding"), CHAT)
def test_vocabulary_agrees_with_tiktokens_table(model: str, encoding: str) -> None:
    assert vocabulary_of(model).name == PUBLIC[encoding]


PROSE = [
    "Thank you for calling, my name is Dana. How can I help you today?",
    "Ich möchte bitte die Überweisung vom 3. März über 1.250,00 EUR zurückholen, geht das noch?",
    "您好，我想查询一下我的账户余额，昨天的转账还没有到账。",
    "お電話ありがとうございます。口座番号をお知らせください。",
    "Здравствуйте, я хотел бы узнать баланс моего счёта.",
    '{"summary": {"reason": "card blocked", "actions": ["new card ordered"], "amount": 1250.5}}',
    "card 4111 1111 1111 1111, order 88-1234-99, call +1 415 555 0132 :-) !!",
    "नमस्ते, मैं अपने खाते की शेष राशि जानना चाहता हूँ।",
]


@pytest.mark.parametrize("text", PROSE)
def test_estimate_errs_high(text: str) -> None:
    estimate = vocabulary("estimate").count(text)
    assert estimate >= vocabulary("o200k").count(text)
    assert vocabulary("estimate").measure(text) == Count(estimate, "estimate")


@unhurried
@given(pieces=st.lists(texts, max_size=8))
def test_estimate_of_a_stream_is_the_estimate_of_its_text(pieces: list[str]) -> None:
    counter = StreamCounter(vocabulary("estimate"))
    for piece in pieces:
        counter.feed(piece)
    assert counter.tokens == vocabulary("estimate").count("".join(pieces))


@pytest.mark.parametrize(
    ("text", "tokens"), [("seven letters", 4), ("1234", 4), ("{}", 2), ("漢字", 4), ("", 0), ("\ud800", 2)]
)
def test_estimate_follows_its_stated_rule(text: str, tokens: int) -> None:
    assert vocabulary("estimate").count(text) == tokens


def test_chat_format_costs_three_a_message_its_role_and_three_for_the_reply() -> None:
    ours = vocabulary("o200k")
    assert message_tokens(ours, [("system", "Be brief."), ("user", "Hello there")]) == 3 + (3 + 1 + 3) + (3 + 1 + 2)
    assert message_tokens(ours, []) == 3
