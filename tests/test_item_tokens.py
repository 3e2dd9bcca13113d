"""Tokens of catalogue items: the same for the same content, and weights that training has seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.features import Vocabulary
from model.item_tokens import (
    MOST_TOKENS,
    TOKEN_ROWS,
    catalogue_content,
    item_tokens,
    token_table,
)
from model.items import Item

ITEMS = st.builds(
    Item,
    item_id=st.just("a"),
    title=st.text(max_size=400),
    category=st.lists(st.text(max_size=5), max_size=4).map(tuple),
    brand=st.none() | st.text(max_size=5),
    price=st.none() | st.floats(),
)


@given(item=ITEMS)
def test_tokens_of_any_item_are_distinct_few_and_never_padding(item: Item) -> None:
    rows = item_tokens(item)
    assert list(rows) == sorted(set(rows))
    assert len(rows) <= MOST_TOKENS
    assert all(0 < row < TOKEN_ROWS for row in rows)


def test_what_is_said_alike_shares_tokens_whoever_says_it() -> None:
    tea = item_tokens(Item(item_id="a", title="Green TEA", brand="Acme", price=4.0))
    same = item_tokens(Item(item_id="b", title="tea, green", brand="Acme", price=5.0))
    assert tea == same
    dearer = item_tokens(Item(item_id="b", title="tea, green", brand="Acme", price=40.0))
    assert len(set(tea) & set(dearer)) == 3


def test_a_word_of_the_title_is_not_the_brand_of_that_name() -> None:
    titled, branded = Item(item_id="a", title="apple"), Item(item_id="a", brand="apple")
    assert not set(item_tokens(titled)) & set(item_tokens(branded))


def test_a_category_says_more_than_its_last_name() -> None:
    path = item_tokens(Item(item_id="a", category=("food", "tea")))
    other = item_tokens(Item(item_id="b", category=("drinks", "tea")))
    assert not set(path) & set(other)
    assert set(item_tokens(Item(item_id="c", category=("food",)))) < set(path)


def test_a_table_is_padded_on_the_right() -> None:
    table = token_table([Item(item_id="a"), Item(item_id="b", title="green tea")])
    assert table.shape == (2, 2)
    assert not table[0].any()
    assert token_table([]).shape == (0, 1)


def test_content_is_in_the_order_of_the_vocabulary_and_single_words_say_nothing() -> None:
    items = [
        Item(item_id="b", title="green tea"),
        Item(item_id="a", title="black tea"),
        Item(item_id="unsold", title="green wall"),
        Item(item_id="c", title="black"),
    ]
    content = catalogue_content(items, Vocabulary(["a", "b", "c", "unheard"]))
    assert content.token_weights is not None
    row = {word: item_tokens(Item(item_id="x", title=word))[0] for word in ("tea", "black")}
    bags = [set(each.tolist()) for each in np.split(content.tokens, content.starts[1:-1])]
    # "green" is in one item of the vocabulary alone.
    assert bags == [{row["tea"], row["black"]}, {row["tea"]}, {row["black"]}, set()]
    assert set(np.flatnonzero(content.token_weights).tolist()) == set(row.values())
    assert content.known.tolist() == [True, True, True, False]


def test_a_catalogue_of_another_shop_is_refused() -> None:
    with pytest.raises(ValueError, match="give the catalogue of the log"):
        catalogue_content([Item(item_id="x", title="green tea")], Vocabulary(["a"]))
