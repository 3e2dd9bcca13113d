"""docs/security.md says what is so: settings, the list of rights, the pseudonym."""

import re
from pathlib import Path
from typing import Any, get_args

from stream.acl import Role, acl_line
from stream.kafka_acl import acl_commands
from stream.settings import Settings
from stream.settings_sources import PREFIX, SECRETS_VARIABLE
from stream.worker import build_store

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/security.md").read_text("utf-8")


def test_its_settings_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {SECRETS_VARIABLE}
    found = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]", PAGE))
    assert len(found) > 20
    assert found <= known


def test_its_lists_of_rights_are_those_of_the_verb() -> None:
    for line in (acl_line(Settings(), "nextclick"), acl_line(Settings(), "nextclick-api", "api")):
        assert f"\n{line}\n" in PAGE


def test_its_acls_of_kafka_are_those_of_the_verb() -> None:
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        user = "nextclick" if role == "worker" else f"nextclick-{role}"
        for line in acl_commands(Settings(), f"User:{user}", role):
            assert f"\n{line}\n" in PAGE


async def test_its_pseudonym_is_that_of_the_keys() -> None:
    (code,) = re.findall(r"```python pseudonym\n(.*?)```", PAGE, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    secret = "0123456789abcdef"
    store = build_store(Settings(pseudonymise=True, user_hash_secret=secret))
    for user in ("ana", "用户"):
        assert store.name_of(user) == made["pseudonym"](user, secret)
        assert f"{{{store.name_of(user)}}}" in store.keys(user).profile
    await store.redis.aclose()


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]*)[^)]*\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
