"""The embedded Redis: functions, files, ports and settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stream.embedded import EmbeddedError
from stream.embedded_redis import EmbeddedRedis, server_binary

LIBRARY = """#!lua name=numbers
redis.register_function('add_up', function(keys, arguments)
  local sum = 0
  for _, number in ipairs(arguments) do sum = sum + tonumber(number) end
  redis.call('SET', keys[1], sum)
  return sum
end)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


def test_functions_run(server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.function_load(LIBRARY, replace=True)
        assert client.fcall("add_up", 1, "{user}:sum", 1, 2, 39) == 42
        assert client.get("{user}:sum") == b"42"


def test_writes_survive_a_crash_if_asked_for(tmp_path: Path) -> None:
    server = EmbeddedRedis(directory=tmp_path, appendonly=True, options={"appendfsync": "always"})
    with server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        before = server.url
        server.kill()
        server.start()
        assert server.url == before, "clients find it where it was"
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"


def test_writes_survive_a_stop(tmp_path: Path) -> None:
    for expected in (None, b"1", b"2"):
        server = EmbeddedRedis(directory=tmp_path, appendonly=True)
        with server, redis.Redis.from_url(server.url) as client:
            assert client.get("count") == expected
            client.incr("count")


def test_settings_reach_the_server() -> None:
    server = EmbeddedRedis(options={"maxmemory": "100mb", "maxmemory-policy": "noeviction"})
    with server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(100 * 1024**2)}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_its_files_go_with_it() -> None:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        folder = Path(client.config_get("dir")["dir"])
        assert folder.is_dir()
    assert not folder.exists()


def test_a_port_that_is_taken_is_told(server: EmbeddedRedis) -> None:
    taken = int(server.address.rpartition(":")[2])
    with pytest.raises(EmbeddedError, match=f"did not start on port {taken}: .*in use"):
        EmbeddedRedis(port=taken).start()


def test_an_unknown_setting_is_told() -> None:
    with pytest.raises(EmbeddedError, match=r"did not start .*no-such-setting"):
        EmbeddedRedis(options={"no-such-setting": "1"}).start()


def test_a_file_needs_a_folder() -> None:
    with pytest.raises(EmbeddedError, match="appendonly=True needs a directory"):
        EmbeddedRedis(appendonly=True)


def test_the_binary_is_a_program() -> None:
    assert server_binary().name == "valkey-server"
    assert server_binary().stat().st_mode & 0o111
