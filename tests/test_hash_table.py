"""The table says of each hash what was put in last, however full it is and however many share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.ids import ITEM_HASH_BYTES
from serving.hash_table import HashTable

BITS = 8 * ITEM_HASH_BYTES
# Few leading bits, so that many come to one place; both ends, so that the last place runs over.
hashes = st.one_of(
    st.integers(0, 5), st.integers(2**BITS - 5, 2**BITS - 1), st.integers(0, 2**BITS - 1)
)


@given(st.lists(st.dictionaries(hashes, st.integers(-1, 10**6), max_size=30), max_size=5))
def test_it_is_a_dictionary(steps: list[dict[int, int]]) -> None:
    table, expected = HashTable(), dict[int, int]()
    for step in steps:
        table.put(np.array([*step], np.uint64), np.array([*step.values()], np.int64))
        expected |= step
        asked = [*expected, 0, 3, 2**BITS - 1]
        found = table.find(np.array(asked, np.uint64))
        assert found.tolist() == [expected.get(each, -1) for each in asked]
        assert len(table) == len(expected)


@pytest.mark.parametrize("at_once", [1, 700, 5000])
def test_it_grows(at_once: int) -> None:
    chance = np.random.default_rng(1)
    some = chance.permutation(2**20)[:5000].astype(np.uint64) << np.uint64(BITS - 20)
    table = HashTable()
    for start in range(0, len(some), at_once):
        part = some[start : start + at_once]
        table.put(part, np.arange(start, start + len(part)))
    assert table.find(some).tolist() == list(range(5000))
    assert (table.find(some + np.uint64(1)) == -1).all()
