"""Keys: the same key from any source, and nothing that is no key."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discoformer.errors import InputError
from discoformer.io.keys import Key, Keys, key_of


@given(st.integers(-(10**17), 10**17))
def test_a_whole_number_is_the_same_key_from_any_source(number: int) -> None:
    sources = [number, str(number), np.int64(number), f"{number}"]
    if abs(number) < 2**53:
        sources += [float(number), np.float64(number)]
    assert {key_of(source) for source in sources} == {number}


@given(st.text())
def test_text_is_itself_unless_it_writes_a_number(text: str) -> None:
    key = key_of(text)
    assert key == text or (isinstance(key, int) and str(key) == text)


@pytest.mark.parametrize("text", ["007", "-0", "+1", "1.0", "1e3", " 1", "", "-", "\u0663", "9" * 19, "-01"])
def test_text_that_only_looks_like_a_number(text: str) -> None:
    assert key_of(text) == text


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, (1, None)])
def test_missing(value: object) -> None:
    assert key_of(value) is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (True, "true"),
        (np.bool_(False), "false"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (pd.Timestamp("2024-02-29 01:00"), "2024-02-29T01:00:00"),
        (("a", 2.0), ("a", 2)),
    ],
)
def test_other_types(value: object, key: Key) -> None:
    assert key_of(value) == key


@pytest.mark.parametrize("value", [1.5, math.inf, b"a", [1], {}, object()])
def test_what_is_no_key(value: object) -> None:
    with pytest.raises(InputError, match="convert the column to text"):
        Keys().numbers([value])


@given(st.lists(st.sampled_from(["a", "b", "17", 17, 17.0, None, "c"])))
def test_numbers_follow_the_first_appearance(values: list[object]) -> None:
    keys = Keys()
    half = len(values) // 2
    numbers = np.concatenate([keys.numbers(values[:half]), keys.numbers(values[half:])])
    assert [keys.found[i] if i >= 0 else None for i in numbers] == [key_of(value) for value in values]
    first = list(dict.fromkeys(key for key in map(key_of, values) if key is not None))
    assert keys.found == first
