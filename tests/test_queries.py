"""Queries: read where they were open, the same in training as in serving, and worth reading."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model.bundle import load_bundle
from model.dataset import PROFILE_SEARCHES, EventLog, next_baskets, split_by_time
from model.export import INPUTS, export_network
from model.features import (
    NO_SEARCHES,
    QUERY_ROWS,
    QUERY_TOKENS,
    Interactions,
    Searches,
    SearchFeatures,
    Vocabulary,
    featurize,
    query_rows,
    query_windows,
)
from model.ids import item_hashes
from model.network import Network, NetworkConfig
from model.search_log import SearchLog, no_searches
from model.trainer import TrainConfig, Trainer
from model.windows import TrainingWindows
from serving.execution import Execution
from serving.profile import QUERIES
from serving.ranker import Ranker
from tests.planted import CLICK, ITEMS, at, log_of, search_shop, searched_for
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTH = 6
CONFIG = TrainConfig(
    length=LENGTH, stride=LENGTH, dim=16, blocks=1, batch=16, epochs=6, learning_rate=0.03,
    min_count=1, queries=True,
)  # fmt: skip


def clicks(*times: int) -> Interactions:
    """Clicks on one item at these times."""
    return Interactions(
        item_hashes(["milk"] * len(times)),
        np.full(len(times), CLICK, np.uint8),
        np.array(times, np.int64),
    )


def asked(*searches: tuple[int, str]) -> Searches:
    """Searches of (time, text)."""
    return Searches(np.array([time for time, _ in searches], np.int64), [t for _, t in searches])


def open_at(history: Interactions, searches: Searches, length: int = 4) -> list[str]:
    """The query at each position, by one of the words that the tests use."""
    words = {query_rows(word): word for word in ("red", "blue", "手机")} | {(): ""}
    cells = query_windows([history], [searches], length)[0]
    return [words[tuple(each[each > 0].tolist())] for each in cells]


def test_a_query_is_its_distinct_words_whatever_it_is_written_in() -> None:
    assert query_rows("Red shoes") == query_rows("red  SHOES shoes")
    assert set(query_rows("手机壳")) > set(query_rows("手机"))
    assert len(query_rows("手机壳")) == 5
    assert query_rows("?!") == ()
    many = query_rows(" ".join(f"word{n}" for n in range(99)))
    assert len(many) == QUERY_TOKENS
    assert min(many) > 0 and max(many) < QUERY_ROWS
    # Pairs of characters, which are words, stay where there is not room for all.
    long = "手机壳苹果红色防摔超薄透明新款"
    assert query_rows("透明")[0] in query_rows(long)


def test_a_query_is_open_from_the_interaction_before_it_to_the_next() -> None:
    history = clicks(10, 20, 30)
    assert open_at(history, asked((15, "red"))) == ["", "red", "", ""]
    assert open_at(history, asked((30, "red"), (31, "blue"))) == ["", "", "", "blue"]
    # At the very time of an interaction it came after it: what is not earlier led to nothing.
    assert open_at(history, asked((20, "red"))) == ["", "", "red", ""]
    assert open_at(history, asked((21, "blue"), (22, "red"), (23, "手机"))) == ["", "", "手机", ""]
    # What led to the first interaction stands before it, where there is room.
    assert open_at(history, asked((5, "red"))) == ["red", "", "", ""]
    assert open_at(history, asked((5, "red"), (25, "blue")), length=3) == ["", "blue", ""]
    assert open_at(history, asked((5, "red"), (15, "blue")), length=1) == [""]


def test_lines_of_one_moment_share_the_query_that_is_open_after_it() -> None:
    assert open_at(clicks(10, 10, 20), asked((12, "red"))) == ["", "", "red", ""]


def test_who_has_no_interaction_has_his_query_at_the_newest_position() -> None:
    assert open_at(clicks(), asked((7, "red"), (9, "blue"))) == ["", "", "", "blue"]
    assert open_at(clicks(), NO_SEARCHES) == [""] * 4


def test_users_of_a_batch_are_as_each_alone() -> None:
    users = [clicks(10, 20), clicks(), clicks(5)]
    searches = [asked((11, "red shoes and more")), asked((1, "blue")), NO_SEARCHES]
    together = query_windows(users, searches, 3)
    assert together.shape == (3, 3, 4)
    for number, (user, own) in enumerate(zip(users, searches, strict=True)):
        alone = query_windows([user], [own], 3)
        width = alone.shape[2]
        assert np.array_equal(together[number, :, :width], alone[0])
        assert not together[number, :, width:].any()


def test_without_searches_the_network_reads_what_it_read_before() -> None:
    vocabulary = Vocabulary(["milk"])
    plain = featurize([clicks(1, 2)], vocabulary, 3)
    assert plain._fields == ("items", "kinds", "gaps")
    both = featurize([clicks(1, 2)], vocabulary, 3, [asked((3, "red"))])
    assert isinstance(both, SearchFeatures)
    assert all(np.array_equal(one, other) for one, other in zip(plain, both[:3], strict=True))


def test_a_profile_keeps_as_many_searches_as_a_log_reads() -> None:
    assert QUERIES.bound == PROFILE_SEARCHES


def searched_log() -> EventLog:
    """Four users who never click twice on one item, and search twice before most clicks."""
    rows = [(f"user-{u}", f"item-{u}-{day}", at(day)) for u in range(4) for day in range(14)]
    log = log_of(rows, CLICK)
    searched = [(u, day) for u in range(4) for day in range(14) if (u + day) % 3]
    searches = SearchLog(
        np.repeat([u for u, _ in searched], 2).astype(np.int32),
        np.array([at(day - after) for _, day in searched for after in (0.5, 0.25)]),
        [f"{word} {u} {day}" for u, day in searched for word in ("first", "then")],
    )
    return replace(log, searches=searches)


def test_training_reads_at_each_moment_what_is_served_then() -> None:
    log = searched_log()
    vocabulary = Vocabulary(log.item_ids)
    rows = vocabulary.index_of(log.hashes)
    baskets = next_baskets(log, 0, at(99))
    number_of = {int(rows[baskets.targets(n)[0]]): n for n in range(len(baskets))}
    windows = TrainingWindows(log, vocabulary, LENGTH, 2, queries=True)
    learned: list[int] = []
    for pending in windows.batches(3, np.random.default_rng(0)):
        batch = pending.make()
        for place, answer in zip(batch.positions.tolist(), batch.target_row.tolist(), strict=True):
            window, column = divmod(place, LENGTH)
            served = baskets.inputs([number_of[answer]], vocabulary, LENGTH, queries=True)
            # A window may begin later than a profile does, never end elsewhere.
            size = max(int((batch.features.items[window, : column + 1] > 0).sum()), 1)
            for ours, theirs in zip(batch.features, served, strict=True):
                read, then = ours[window, column + 1 - size : column + 1], theirs[0, -size:]
                if read.ndim == 2:
                    assert not read[:, then.shape[1] :].any()
                    read = read[:, : then.shape[1]]
                assert np.array_equal(read, then)
            learned.append(answer)
    # Once each; of the first clicks, those that were searched for.
    first = [int(rows[log.item_ids.index(f"item-{user}-0")]) for user in (0, 3)]
    assert sorted(learned) == sorted(set(number_of) - set(first))


def test_a_profile_that_stood_still_knows_no_later_search() -> None:
    log = searched_log()
    baskets = next_baskets(log, at(5), at(6))
    frozen = replace(baskets, known_until=np.full(len(baskets), at(4)))
    some = frozen.take(np.array([2]))
    assert [len(each.searches(n).texts) for each, n in ((baskets, 2), (frozen, 2), (some, 0))] == [
        8, 6, 6,
    ]  # fmt: skip
    assert frozen.searches(2).times.max() < at(4) < baskets.searches(2).times.max()


def test_a_query_that_decides_is_worth_reading() -> None:
    log = search_shop()
    split = split_by_time(log, validation_days=4, test_days=3)
    vocabulary = Vocabulary(log.item_ids)
    found = {}
    for queries in (True, False):
        config = replace(CONFIG, queries=queries, epochs=CONFIG.epochs if queries else 2)
        trainer = Trainer(split, vocabulary, config, seed=1)
        for epoch in range(config.epochs):
            trainer.run_epoch(epoch, lambda text, share: None)
        found[queries] = trainer.validation_ndcg()
        if queries:
            network = trainer.served()
    # Of twelve items in a random order the right one is worth .38.
    assert found[True] > 0.95
    assert found[False] < 0.6
    # Who has done nothing yet, and searched: all that is known is his query.
    item = [ITEMS - 1, 3]
    inputs = featurize(
        [clicks()] * 2, vocabulary, LENGTH, [asked((1, searched_for(each))) for each in item]
    )
    with torch.inference_mode():
        state = network.encode(*(torch.from_numpy(each) for each in inputs[:3]), newest_only=True,
                               queries=torch.from_numpy(inputs[3]))[:, 0]  # fmt: skip
        best = (state @ network.item_table.weight.T + network.item_bias).argmax(dim=1)
    expected = vocabulary.index_of(item_hashes([f"item-{each:02}" for each in item]))
    assert best.tolist() == expected.tolist()


def test_a_log_without_searches_teaches_no_queries() -> None:
    log = replace(search_shop(users=3, days=12), searches=no_searches())
    split = split_by_time(log, validation_days=3, test_days=2)
    with pytest.raises(ValueError, match="holds no search to learn from; train without queries"):
        Trainer(split, Vocabulary(log.item_ids), CONFIG, seed=0)


def network(queries: bool) -> Network:
    torch.manual_seed(0)
    made = Network(NetworkConfig(30, length=LENGTH, dim=16, blocks=2, queries=queries)).eval()
    if made.query_table is not None:
        torch.nn.init.normal_(made.query_table.weight[1:])
    return made


def test_words_that_nobody_asked_for_say_nothing() -> None:
    fresh = Network(NetworkConfig(30, length=LENGTH, dim=16, queries=True)).eval()
    items = torch.randint(2, 30, (2, LENGTH))
    ones, words = torch.ones_like(items), torch.randint(1, QUERY_ROWS, (2, LENGTH, 3))
    silent = fresh.encode(items, ones, ones, queries=torch.zeros_like(words))
    assert torch.equal(fresh.encode(items, ones, ones, queries=words), silent)


@pytest.mark.parametrize("queries", [True, False])
def test_queries_go_to_a_network_that_reads_them_and_to_no_other(queries: bool) -> None:
    items = torch.ones((1, LENGTH), dtype=torch.int64)
    words = None if queries else torch.ones((1, LENGTH, 1), dtype=torch.int64)
    with pytest.raises(ValueError, match="give queries to a network that reads them"):
        network(queries).encode(items, items, items, queries=words)


@pytest.mark.parametrize("queries", [True, False])
def test_a_graph_has_the_input_if_its_network_reads_queries(tmp_path: Path, queries: bool) -> None:
    vocabulary = Vocabulary([f"item-{n}" for n in range(28)])
    chance = np.random.default_rng(0)
    histories = [clicks(*range(10, 10 + 5 * n, 5)) for n in range(9)]
    searches = [
        asked(*((int(t), str(chance.choice(["red", "手机", "blue shoes"]))) for t in
                np.sort(chance.integers(0, 50, 4))))
        for _ in histories
    ]  # fmt: skip
    users = featurize(histories, vocabulary, LENGTH, searches if queries else None)
    path = tmp_path / "model.onnx"
    parity = export_network(network(queries), path, users, 10)
    assert parity.users == 9
    assert parity.max_difference < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [each.name for each in session.get_inputs()]
    assert inputs == [*INPUTS, *(["queries"] if queries else [])]


def test_a_ranker_feeds_the_query_that_is_open(tmp_path: Path) -> None:
    items = [f"item-{n}" for n in range(30)]
    tiny_bundle(tmp_path / "bundle", items, queries=True)
    ranker = Ranker(load_bundle(tmp_path / "bundle"), Execution("cpu"))
    assert ranker.reads_queries
    rows, bias = np.tile(np.arange(2, 9), (3, 1)), np.zeros(32, np.float32)
    histories = [clicks(10), clicks(10), clicks()]
    searches = [NO_SEARCHES, asked((11, "red")), asked((1, "red"))]
    scores = ranker.rank(histories, rows, bias, searches)
    assert not np.allclose(scores.candidate_scores[0], scores.candidate_scores[1], atol=1e-3)
    alone = ranker.rank(histories[1:2], rows[:1], bias, searches[1:2])
    assert np.allclose(alone.candidate_scores[0], scores.candidate_scores[1], atol=1e-4)
    with pytest.raises(ValueError, match="reads queries; give the users' searches"):
        ranker.rank(histories, rows, bias, None)
