"""Users of an installation are hashed with one key; a process that has another one is refused."""

import pytest

from serving.round_trip import StoreError
from stream.complaint import complaint
from stream.settings import Settings
from stream.worker import build_store

pytestmark = pytest.mark.either_backend

ONE, OTHER = "one-secret-0123456789", "other-secret-0123456789"


async def opened(redis_url: str, secret: str | None, prefix: str = "nc") -> None:
    """Open an installation, as every process does."""
    store = build_store(Settings(redis_url=redis_url, user_hash_secret=secret, redis_prefix=prefix))
    try:
        await store.open()
    finally:
        await store.redis.aclose()


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (ONE, OTHER, "with another key"),
        (ONE, None, "with another key"),
        (None, ONE, "without a key"),
    ],
)
async def test_another_key_is_refused(
    redis_url: str, first: str | None, then: str | None, said: str
) -> None:
    await opened(redis_url, first)
    await opened(redis_url, first)
    with pytest.raises(StoreError, match=f"hashed {said}.*NEXTCLICK_USER_HASH_SECRET") as caught:
        await opened(redis_url, then)
    assert ONE not in str(caught.value) and OTHER not in str(caught.value)
    assert complaint(caught.value) == str(caught.value)
    await opened(redis_url, first)
    await opened(redis_url, then, prefix="anew")
