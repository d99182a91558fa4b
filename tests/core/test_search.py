"""Words: what a text is found by, in every script, and that a query's words are those of any text that has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.search import (
    QUERY_WORDS_MAX,
    TEXT_MAX_CHARS,
    WORD_MAX_CHARS,
    WORDS_MAX,
    query_words,
    searched_text,
    words_of,
)

HAN, KANA, THAI = "東京都知事選挙年", "ひらがなカタカナー", "กขคงจ"
dense = st.text(alphabet=HAN + KANA + THAI, min_size=1, max_size=20)
plain = st.text(alphabet="abcXYZ_09éßñΣжאअ가", min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  -- !?\n", ()),
        ("Order order ORDER", ("order",)),
        ("anna@example.com", ("anna", "example", "com")),
        ("snake_case, kebab-case", ("snake_case", "kebab", "case")),
        ("don't", ("don", "t")),
        ("the 3.14", ("the", "3", "14")),
        ("Café CAFE\u0301", ("café",)),
        ("Straße STRASSE", ("strasse",)),
        ("ﬁle \uff26\uff55ll ①", ("file", "full", "1")),
        ("soft\u00adhyphen", ("softhyphen",)),
        ("I ❤️ it", ("i", "it")),
        ("naïve\ud800x", ("naïve", "x")),
        ("हिन्दी भाषा", ("हिन्दी", "भाषा")),
        ("안녕하세요 세계", ("안녕하세요", "세계")),
        ("Привет, МИР", ("привет", "мир")),
        ("שלום عالم", ("שלום", "عالم")),
        ("東京", ("東", "東京", "京")),
        ("葛\U000e0100城", ("葛", "葛城", "城")),
        ("ﾗｰﾒﾝ", ("ラ", "ラー", "ー", "ーメ", "メ", "メン", "ン")),
        ("Python言語3版", ("python", "言", "言語", "語", "3", "版")),
        ("กิน", ("กิ", "กิน", "น")),
        ("ລາວ", ("ລ", "ລາ", "າ", "າວ", "ວ")),
        ("ខ្ញុំ", ("ខ្", "ខ្ញុំ", "ញុំ")),
    ],
)
def test_the_words_of_a_text(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("東", ("東",)),
        ("東京", ("東京",)),
        ("東京都", ("東京", "京都")),
        ("กิ", ("กิ",)),
        ("A 東 b", ("a", "東", "b")),
        ("…", ()),
    ],
)
def test_the_words_of_a_query(query: str, words: tuple[str, ...]) -> None:
    assert query_words(query) == words


@given(before=dense | st.just(""), query=dense, after=dense | st.just(""))
def test_whatever_stands_in_an_unspaced_text_is_found_by_any_part_of_it(before: str, query: str, after: str) -> None:
    assert set(query_words(query)) <= set(words_of(before + query + after))


@given(
    words=st.lists(plain | dense, min_size=1, max_size=6), gap=st.sampled_from([" ", ", ", "\n", "-", "。", "\u3000"])
)
def test_a_text_is_found_by_each_of_its_words_and_by_all(words: list[str], gap: str) -> None:
    found = set(words_of(gap.join(words)))
    for word in words:
        assert set(query_words(word)) <= found
        assert set(query_words(word.upper())) <= found
    assert set(query_words(" ".join(words[:2]))) <= found


@given(text=st.text())
def test_of_any_text_words_are_few_short_and_different_and_none_is_blank(text: str) -> None:
    words = words_of(text)
    assert len(words) <= WORDS_MAX
    assert len(set(words)) == len(words)
    assert all(0 < len(word) <= WORD_MAX_CHARS and not word.isspace() for word in words)
    "".join(words).encode()  # no half of a surrogate pair is in them


def test_long_words_and_long_texts_are_cut() -> None:
    assert words_of("x" * 1_000) == query_words("X" * WORD_MAX_CHARS) == ("x" * WORD_MAX_CHARS,)
    assert words_of("a " * (TEXT_MAX_CHARS // 2) + "b") == ("a",)
    assert words_of("a " * (TEXT_MAX_CHARS // 2 - 1) + "b") == ("a", "b")
    assert words_of(" ".join(map(str, range(1_000)))) == tuple(map(str, range(WORDS_MAX)))


@pytest.mark.parametrize("marks", ["\u0316\u0301", "\u0316\u00ad\u0301", "\u0316\uff9e"])
def test_of_marks_on_one_character_thirty_count(marks: str) -> None:
    (word,) = words_of("a" + marks * 100)
    assert word == words_of("a" + marks * 15)[0]
    assert len(word) <= 1 + 30


def test_a_query_of_too_many_words_is_refused() -> None:
    most = " ".join(map(str, range(QUERY_WORDS_MAX)))
    assert len(query_words(f"{most} {most}")) == QUERY_WORDS_MAX
    with pytest.raises(InvalidInput, match="search: this search has too many words; expected at most 32"):
        query_words(f"{most} more")


# -- what is searched ---------------------------------------------------------------------------------

INPUT = {
    "to": {"email": "a@b.c", "n": 1},
    "rows": [{"title": "one"}, {"title": "two", "ok": True}],
    "a.b": "dot",
    "no": None,
}


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (None, "to email a@b.c n 1 rows title one title two ok true a.b dot no"),
        ("", "to email a@b.c n 1 rows title one title two ok true a.b dot no"),
        (7, "to email a@b.c n 1 rows title one title two ok true a.b dot no"),
        ({"x": 1}, "to email a@b.c n 1 rows title one title two ok true a.b dot no"),
        ([], ""),
        ("to.email", "a@b.c"),
        ("to", "email a@b.c n 1"),
        (["to.n", "a.b"], "1 dot"),
        (["rows.1.title", "rows[0].title", "rows.2.title", "rows.title"], "two one"),
        (["missing", "to.email.x", "", 7, None], ""),
    ],
)
def test_what_of_an_input_is_searched(keys: Any, text: str) -> None:
    assert searched_text(INPUT, keys) == text.replace(" ", "\n")


@given(given=values)
def test_of_any_input_each_text_is_searched_whole(given: Any) -> None:
    found = f"\n{searched_text(given)}\n"
    for text in texts_in(given):
        assert f"\n{text}\n" in found


def test_what_is_nested_deeply_is_searched() -> None:
    assert searched_text(json.loads("[" * 900 + '"deep"' + "]" * 900)) == "deep"


def texts_in(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for each in value for text in texts_in(each)]
        case dict():
            return [*value, *(text for each in value.values() for text in texts_in(each))]
    return []
