"""Who users are: read the same in training as in serving, and worth reading."""

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch

from model.bundle import load_bundle
from model.dataset import Baskets, EventLog, next_baskets, split_by_time
from model.events import Click, Context, Event, User, encode_event
from model.export import INPUTS, export_network
from model.features import (
    NO_SEARCHES,
    Interactions,
    SearchWhoFeatures,
    Vocabulary,
    WhoFeatures,
    featurize,
)
from model.ids import item_hashes
from model.items import Item
from model.network import Network, NetworkConfig
from model.top_metrics import rank_metrics
from model.trainer import TrainConfig, Trainer
from model.trait_log import no_traits
from model.traits import MOST_TRAITS, pack_traits
from model.who import WHO_ROWS, who_rows
from model.windows import TrainingWindows
from serving.execution import Execution
from serving.list_request import ListRequest, RequestTable
from serving.nearest import NearestBy
from serving.profile import Profile, pack_interaction, profile_of
from serving.ranker import Ranker
from serving.recommend import recommend, recommend_user
from serving.recommendation import AsOf
from stream.event_log import read_event_log
from tests.parts import NOW, click, open_parts, records_of
from tests.planted import ITEMS, wish, wishing_shop
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTH = 6
CONFIG = TrainConfig(
    length=LENGTH, stride=LENGTH, dim=16, blocks=1, batch=16, epochs=6, learning_rate=0.03,
    min_count=1, who=True,
)  # fmt: skip
NOBODY = Interactions(np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, np.int64))


def told(attributes: dict[str, str | int | float | bool | list[str] | None]) -> bytes:
    return pack_traits(User(event_id="e", user_id="u", ts=5, attributes=attributes))


def test_rows_are_those_of_names_and_values_whenever_they_were_told() -> None:
    one, other = told({"age": 3, "city": "Ulm"}), wish(3)
    rows = who_rows([one, b"", other, one])
    assert rows.shape == (4, MOST_TRAITS)
    assert (rows > 0).sum(axis=1).tolist() == [2, 0, 1, 2]
    assert rows.max() < WHO_ROWS
    assert np.array_equal(rows[0], rows[3])
    assert np.array_equal(who_rows([wish(3, 77)])[0], rows[2])
    assert not set(rows[2].tolist()) - {0} & set(rows[0].tolist()), "another name, another row"


def test_what_was_taken_back_says_nothing() -> None:
    assert not who_rows([told({"age": None})]).any()


@pytest.fixture
def events() -> list[Event]:
    """Of six users, who say who they are and click, in no order."""
    chance = random.Random(3)
    made: list[Event] = []
    for at_ms in range(1, 400):
        given = {"event_id": f"e{at_ms}", "user_id": f"u{chance.randrange(6)}", "ts": at_ms * 1000}
        context = chance.choice(
            [None, Context(country=chance.choice(["DE", "FR"]), device="phone")]
        )
        if chance.random() < 0.3:
            names = chance.sample("abcdefghijkl", 2)
            made.append(User(**given, attributes=dict.fromkeys(names, chance.randrange(9))))  # type: ignore[arg-type]
        else:
            item = f"i{chance.randrange(5)}"
            made.append(Click(**given, item_id=item, context=context))  # type: ignore[arg-type]
    chance.shuffle(made)
    return made


def log_of_file(events: list[Event], folder: Path) -> EventLog:
    path = folder / "events.jsonl"
    path.write_bytes(b"\n".join(map(encode_event, events)))
    return read_event_log([path], lambda bad: pytest.fail(str(bad)))


def served(events: list[Event], user: str, before: int) -> RequestTable:
    """A request of a user with the profile of what came before a time."""
    own = [each for each in events if each.user_id == user and each.time < before]
    clicks = [pack_interaction(each) for each in own if isinstance(each, Click)]
    profile = profile_of(clicks, [], [pack_traits(each) for each in own])
    return RequestTable([ListRequest(user, "e", before, AsOf("t", 0, 0), profile)])


def test_training_and_evaluation_read_what_a_profile_holds(
    events: list[Event], tmp_path: Path
) -> None:
    log = log_of_file(events, tmp_path)
    vocabulary = Vocabulary(log.item_ids)
    baskets = next_baskets(log, 0, 10**9)
    inputs = baskets.inputs(range(len(baskets)), vocabulary, LENGTH, queries=False, who=True)
    assert isinstance(inputs, WhoFeatures)
    expected = {}
    for number in range(len(baskets)):
        user = log.user_ids[log.users[baskets.history_ends[number]]]
        request = served(events, user, baskets.time(number))
        expected[user, baskets.time(number)] = request.who[0].tolist()
        mine = featurize(request.histories, vocabulary, LENGTH, None, request.who)
        assert isinstance(mine, WhoFeatures)
        for ours, theirs in zip(inputs, mine, strict=True):
            assert np.array_equal(ours[number], theirs[0])
    assert len({str(each) for each in expected.values()}) > 50

    windows = TrainingWindows(log, vocabulary, LENGTH, LENGTH, who=True)
    learned = 0
    for pending in windows.batches(8, np.random.default_rng(0)):
        batch = pending.make()
        assert batch.who is not None and len(batch.who) == len(batch.positions)
        for row in batch.who.tolist():
            assert row in expected.values()
            learned += 1
    # Of each user the first click too, where something was known before.
    firsts = [min(time for user, time in expected if user == one) for one in log.user_ids]
    known = [any(expected[user, first]) for user, first in zip(log.user_ids, firsts, strict=True)]
    assert learned == len(baskets) - len(known) + sum(known)


def test_a_forgotten_trait_is_not_learned_from(events: list[Event], tmp_path: Path) -> None:
    gone = msgspec.json.encode({"type": "forget", "event_id": "f", "user_id": "u1", "ts": 200_000})
    path = tmp_path / "forgotten.jsonl"
    path.write_bytes(b"\n".join([*map(encode_event, events), gone]))
    log = read_event_log([path], lambda bad: pytest.fail(str(bad)))
    number = log.user_ids.index("u1")
    assert log.traits.times[log.traits.users == number].min() > 200_000
    assert log.traits.times[log.traits.users != number].min() < 100_000
    assert log.before(300_000).traits.times.max() < 300_000


def ndcg(graph: Path, baskets: Baskets, vocabulary: Vocabulary, who: bool) -> float:
    """NDCG@10 of the nearest items of an exported graph."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    inputs = baskets.inputs(range(len(baskets)), vocabulary, LENGTH, queries=False, who=who)
    best = nearest(session, inputs._asdict(), vocabulary)
    rows = [
        set(vocabulary.index_of(baskets.log.hashes[baskets.targets(number)]).tolist())
        for number in range(len(baskets))
    ]
    return rank_metrics(best, rows).ndcg


def nearest(
    session: onnxruntime.InferenceSession,
    inputs: dict[str, np.typing.NDArray[np.int64]],
    vocabulary: Vocabulary,
) -> list[list[int]]:
    bias = np.zeros(len(vocabulary), np.float32)
    given = {**inputs, "item_bias": bias, "candidates": inputs["items"][:, -1:]}
    found: list[list[int]] = session.run(["top_items"], given)[0].tolist()
    return found


def test_an_attribute_that_decides_is_worth_reading(tmp_path: Path) -> None:
    log = wishing_shop()
    split = split_by_time(log, validation_days=4, test_days=3)
    vocabulary = Vocabulary(log.item_ids)
    found = {}
    for who in (False, True):
        config = replace(CONFIG, who=who, epochs=CONFIG.epochs if who else 2)
        trainer = Trainer(split, vocabulary, config, seed=1)
        for epoch in range(config.epochs):
            trainer.run_epoch(epoch, lambda text, share: None)
        users = split.validation.inputs(range(40), vocabulary, LENGTH, queries=False, who=who)
        graph = tmp_path / f"{who}.onnx"
        export_network(trainer.served(), graph, users, 10)
        found[who] = ndcg(graph, split.test, vocabulary, who)
    # Of twelve items in a random order the right one is worth .38.
    assert found[True] > 0.95
    assert found[False] < 0.6
    # Who has done nothing yet: all that is known is what he is.
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    item = [ITEMS - 1, 3]
    inputs = featurize([NOBODY] * 2, vocabulary, LENGTH, None, who_rows([wish(n) for n in item]))
    best = [each[0] for each in nearest(session, inputs._asdict(), vocabulary)]
    expected = vocabulary.index_of(item_hashes([f"item-{each:02}" for each in item]))
    assert best == expected.tolist()


def test_a_log_that_says_nothing_teaches_nothing() -> None:
    log = replace(wishing_shop(users=3, days=12), traits=no_traits())
    split = split_by_time(log, validation_days=3, test_days=2)
    with pytest.raises(ValueError, match="no attribute, country or device; train without who"):
        Trainer(split, Vocabulary(log.item_ids), CONFIG, seed=0)


def network(who: bool, *, queries: bool = False, tasks: bool = False) -> Network:
    torch.manual_seed(0)
    config = NetworkConfig(
        30, length=LENGTH, dim=16, blocks=2, who=who, queries=queries, tasks=tasks
    )
    made = Network(config).eval()
    if made.who_table is not None:
        torch.nn.init.normal_(made.who_table.weight[1:])
    return made


@pytest.mark.parametrize("who", [True, False])
def test_who_users_are_goes_to_a_network_that_reads_it_and_to_no_other(who: bool) -> None:
    rows = None if who else torch.ones((1, MOST_TRAITS), dtype=torch.int64)
    with pytest.raises(ValueError, match="to a network that reads it, and to no other"):
        network(who).of_users(torch.zeros((1, 16)), rows)


def test_a_network_that_is_folded_for_a_task_knows_the_same_users() -> None:
    whole = network(True, tasks=True)
    assert whole.task_gain is not None and whole.task_shift is not None
    torch.nn.init.normal_(whole.task_gain)
    torch.nn.init.normal_(whole.task_shift)
    items = torch.randint(2, 30, (3, LENGTH))
    ones, who = torch.ones_like(items), torch.randint(0, WHO_ROWS, (3, MOST_TRAITS))
    with torch.inference_mode():
        state = whole.encode(items, ones, ones, newest_only=True)[:, 0]
        expected = whole.for_tasks(whole.of_users(state, who), torch.full((3,), 5))
        folded = whole.folded(5)
        found = folded.of_users(folded.encode(items, ones, ones, newest_only=True)[:, 0], who)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("queries", [True, False])
@pytest.mark.parametrize("who", [True, False])
def test_a_graph_has_the_input_if_its_network_reads_it(
    tmp_path: Path, queries: bool, who: bool
) -> None:
    vocabulary = Vocabulary([f"item-{n}" for n in range(28)])
    rows = np.random.default_rng(0).integers(0, WHO_ROWS, (9, MOST_TRAITS))
    clicks = Interactions(
        item_hashes(["item-1"] * 9), np.ones(9, np.uint8), np.arange(9, dtype=np.int64) * 5000
    )
    histories = [
        Interactions(clicks.items[:n], clicks.kinds[:n], clicks.times[:n]) for n in range(9)
    ]
    users = featurize(
        histories, vocabulary, LENGTH, [NO_SEARCHES] * 9 if queries else None, rows if who else None
    )
    assert not (queries and who) or isinstance(users, SearchWhoFeatures)
    path = tmp_path / "model.onnx"
    parity = export_network(network(who, queries=queries), path, users, 10)
    assert parity.max_difference < 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    optional = [*(["queries"] if queries else []), *(["who"] if who else [])]
    assert [each.name for each in session.get_inputs()] == [*INPUTS, *optional]


@pytest.mark.parametrize("nearest", ["exact", "index"])
def test_a_ranker_feeds_who_users_are(tmp_path: Path, nearest: NearestBy) -> None:
    items = [f"item-{n}" for n in range(30)]
    tiny_bundle(tmp_path / "bundle", items, who=True, index=nearest == "index")
    ranker = Ranker(load_bundle(tmp_path / "bundle"), Execution("cpu", nearest=nearest))
    assert ranker.reads_who
    rows, bias = np.tile(np.arange(2, 9), (40, 1)), np.zeros(32, np.float32)
    clicks = Interactions(
        item_hashes(items[:15]), np.ones(15, np.uint8), np.arange(15, dtype=np.int64) * 5000
    )
    # Short and long histories, which are run apart.
    histories = [clicks if number % 2 else NOBODY for number in range(40)]
    profiles = [Profile(traits=told({"age": number})) for number in range(40)]
    who = who_rows([each.traits for each in profiles])
    scores = ranker.rank(histories, rows, bias, None, who=who)
    for number in (0, 1, 38, 39):
        part = slice(number, number + 1)
        alone = ranker.rank(histories[part], rows[:1], bias, None, who=who[part])
        assert np.allclose(alone.candidate_scores[0], scores.candidate_scores[number], atol=1e-4)
    one, other = scores.candidate_scores[0], scores.candidate_scores[2]
    assert not np.allclose(one, other, atol=1e-3), "nobody knows more of them than who they are"
    assert not np.array_equal(scores.top_rows[0], scores.top_rows[2])
    with pytest.raises(ValueError, match="reads who users are; give their rows"):
        ranker.rank(histories, rows, bias, None)


async def test_two_newcomers_with_other_attributes_get_other_lists(
    redis_url: str, tmp_path: Path
) -> None:
    items = [Item(item_id=f"item-{n}", title=f"item {n}") for n in range(30)]
    tiny_bundle(tmp_path / "bundle", [each.item_id for each in items], who=True)
    bundle = load_bundle(tmp_path / "bundle")
    async with open_parts(redis_url, items, bundle=bundle) as parts:
        people = {"ann": "tea", "bob": "coffee", "eve": "tea"}
        events: list[Event] = [
            User(event_id=user, user_id=user, ts=NOW, attributes={"drinks": what})
            for user, what in people.items()
        ]
        assert (await recommend(parts, records_of(events))).lists == []
        ann, bob, eve = [
            [each.item_id for each in (await recommend_user(parts, user)).items] for user in people
        ]
        assert ann == eve != bob
        # And by the stream, at a first event that says nothing of the difference.
        clicked = [click(user, "item-3") for user in people]
        made = (await recommend(parts, records_of(clicked, first=3))).lists
        ann, bob, eve = [[each.item_id for each in one.items] for one in made]
        assert ann == eve != bob
