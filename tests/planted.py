"""Logs with a pattern that is known because it was planted, so that the right answer is too."""

from dataclasses import replace

import numpy as np

from model.dataset import PURCHASE, EventLog
from model.events import INTERACTION_KINDS, Click, User
from model.features import DAY_MS
from model.search_log import SearchLog
from model.trait_log import TraitLog
from model.traits import TRAIT_BYTES, pack_traits

FIRST_DAY = 17_000
ITEMS = 12
CLICK = INTERACTION_KINDS[Click]


def log_of(rows: list[tuple[str, str, int]], kind: int = PURCHASE) -> EventLog:
    """A log of (user, item, epoch ms) rows."""
    return log_of_kinds([(*row, kind) for row in rows])


def log_of_kinds(rows: list[tuple[str, str, int, int]]) -> EventLog:
    """A log of (user, item, epoch ms, kind) rows."""
    users, items = ({name: code for code, name in enumerate(dict.fromkeys(column))}
                    for column in ([row[0] for row in rows], [row[1] for row in rows]))  # fmt: skip
    return EventLog.from_columns(
        np.array([users[row[0]] for row in rows], np.int32),
        np.array([items[row[1]] for row in rows], np.int32),
        np.array([row[3] for row in rows], np.uint8),
        np.array([row[2] for row in rows], np.int64),
        list(users),
        list(items),
    )


def at(day: float) -> int:
    """Epoch milliseconds of a moment ``day`` days into a planted log."""
    return int((FIRST_DAY + day) * DAY_MS)


def succession(users: int = 30, days: int = 40) -> EventLog:
    """Everyone buys one item a day: item n today, item n + 1 tomorrow, round and round.

    Nothing is popular and nothing is bought again soon: only the order tells what comes next.
    """
    return log_of(
        [
            (f"user-{user}", f"item-{(user + day) % ITEMS:02}", at(day + 0.4 + user / 1000))
            for user in range(users)
            for day in range(days)
        ]
    )


def window_shopping(users: int = 40, days: int = 40, seed: int = 0) -> EventLog:
    """Everyone looks at item n + 1 the day after item n; now and then he buys item n + 5 instead,
    and looks on where he left off. What comes next is a click or a purchase, nobody knows which.
    """
    chance = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        item = user
        for day in range(days):
            buys = chance.random() < 0.25
            item += not buys
            shown = (item + 5 if buys else item) % ITEMS
            kind = PURCHASE if buys else CLICK
            rows.append((f"user-{user}", f"item-{shown:02}", at(day + 0.4 + user / 1000), kind))
    return log_of_kinds(rows)


def searched_for(number: int) -> str:
    """What everyone searches for before he clicks on item ``number``."""
    return f"{('red', '手机', 'blue', '面包')[number % 4]} no{number}"


def search_shop(users: int = 40, days: int = 30, seed: int = 0) -> EventLog:
    """Everyone searches for an item a day, any item, and clicks on it a minute later; some look in
    between for something that they drop. What was clicked before tells nothing of what comes next.
    """
    chance = np.random.default_rng(seed)
    rows, owners, times, texts = [], [], [], []
    for user in range(users):
        for day in range(days):
            item, time = int(chance.integers(ITEMS)), at(day + 0.4 + user / 1000)
            if chance.random() < 0.2:
                owners.append(user)
                times.append(time - 30_000)
                texts.append("something else")
            owners.append(user)
            times.append(time)
            texts.append(searched_for(item))
            rows.append((f"user-{user}", f"item-{item:02}", time + 60_000))
    searches = SearchLog(np.array(owners, np.int32), np.array(times, np.int64), texts)
    return replace(log_of(rows, CLICK), searches=searches)


def wish(number: int, time: int = at(0)) -> bytes:
    """The traits of who says that item ``number`` is what he wants."""
    return pack_traits(User(event_id="w", user_id="u", ts=time, attributes={"wants": number}))


def wishing_shop(users: int = 40, days: int = 30, seed: int = 0) -> EventLog:
    """Everyone says each day what he wants, any item, and clicks on it a minute later. What was
    clicked before tells nothing of what comes next.
    """
    chance = np.random.default_rng(seed)
    rows, owners, told = [], [], []
    for user in range(users):
        for day in range(days):
            item, time = int(chance.integers(ITEMS)), at(day + 0.4 + user / 1000)
            owners.append(user)
            told.append(wish(item, time))
            rows.append((f"user-{user}", f"item-{item:02}", time + 60_000))
    records = np.frombuffer(b"".join(told), np.uint8).reshape(-1, TRAIT_BYTES)
    traits = TraitLog(np.array(owners, np.int32), records)
    return replace(log_of(rows, CLICK), traits=traits)
