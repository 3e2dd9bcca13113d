"""Families that share a tablet, some of them forgotten, lived through by workers and replayed."""

import asyncio
import random
from pathlib import Path

import pytest

from model.events import Event
from stream.settings import Settings
from tests.crowd import fleet
from tests.parts import NOW, click, forget, purchase, search
from tests.test_replay_proof import file_of, nextclick, served, shadow_of, write_log
from tests.test_waves import identify

FAMILIES = 40
SEED = 3
pytestmark = pytest.mark.either_backend


def family_log(rng: random.Random) -> list[Event]:
    """In one order by time and in another in the topic."""
    log: list[Event] = []
    for number in range(FAMILIES):
        ana, bo, tablet = (f"{name} {number}" for name in ("ana", "bo", "tablet"))
        for user in (ana, bo, tablet, tablet):
            log += [click(user, f"i{rng.randrange(9)}", NOW - rng.randrange(99)) for _ in range(6)]
            log.append(purchase(user, f"i{rng.randrange(9)}", NOW - rng.randrange(99)))
            log.append(search(user, "tea", NOW - rng.randrange(99)))
        log += [identify(user, tablet, NOW - rng.randrange(99)) for user in (ana, bo)]
        if rng.random() < 0.8:
            log.append(forget(rng.choice([ana, bo, tablet]), NOW - rng.randrange(99)))
    rng.shuffle(log)
    return log


def test_families_are_replayed_as_workers_have_lived_through_them(
    stream_settings: Settings, tmp_path: Path
) -> None:
    settings, rng = stream_settings, random.Random(SEED)
    log = family_log(rng)
    with fleet(settings, tmp_path, 2):
        write_log(settings, log)
        asyncio.run(served(settings, len(log)))
    shuffled = file_of(tmp_path / "log.jsonl", rng.sample(log, len(log)))
    for source in (("topic", settings.events_topic), ("files", shuffled)):
        with shadow_of(settings) as compared:
            nextclick(settings, "replay", *source, "--into", "shadow", "--json", folder=tmp_path)
            found = compared()
            assert found.profiles == []
            assert found.profiles_equal > 2 * FAMILIES
