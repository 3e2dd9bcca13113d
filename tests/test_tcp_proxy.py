"""The proxy of the fault tests: it has to do what they believe it does."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.tcp_proxy import PATIENCE_S, TcpProxy

SHORT_S = 0.2


@pytest.fixture
def echo_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(1000):
                        connection.sendall(data)
                except OSError:
                    pass

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def ask(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(1000)


def test_it_passes_on_and_counts(echo_port: int) -> None:
    with TcpProxy(echo_port) as proxy, connect(proxy) as client:
        assert ask(client, b"one") == b"one"
        assert ask(client, b"two") == b"two"
        assert proxy.accepted == 1


def test_a_cut_resets_what_is_open_and_takes_new_ones(echo_port: int) -> None:
    with TcpProxy(echo_port) as proxy, connect(proxy) as client:
        assert ask(client, b"one") == b"one"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1000)
        with connect(proxy) as other:
            assert ask(other, b"two") == b"two"


def test_a_stall_holds_the_words_until_it_ends(echo_port: int) -> None:
    with TcpProxy(echo_port) as proxy, connect(proxy) as client:
        assert ask(client, b"one") == b"one"
        proxy.stall()
        client.sendall(b"two")
        client.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        client.settimeout(PATIENCE_S)
        proxy.resume()
        assert client.recv(1000) == b"two"


def test_a_stall_after_some_bytes_lets_just_those_through(echo_port: int) -> None:
    with TcpProxy(echo_port) as proxy, connect(proxy) as client:
        assert ask(client, b"one") == b"one"
        is_stalled = proxy.stall_after(2)
        client.sendall(b"two")
        assert is_stalled.wait(PATIENCE_S)
        assert proxy.sent == len(b"onetw")
        proxy.resume()
        received = b""
        while len(received) < len(b"two"):
            received += client.recv(1000)
        assert received == b"two"
        assert proxy.sent == len(b"onetwo")


@pytest.mark.parametrize("fault", ["delay", "throttle"])
def test_a_slow_network_is_slow_until_it_is_mended(echo_port: int, fault: str) -> None:
    with TcpProxy(echo_port) as proxy, connect(proxy) as client:
        if fault == "delay":
            proxy.delay(2 * SHORT_S)
        else:
            proxy.throttle(3 / (2 * SHORT_S))
        client.sendall(b"one")
        client.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        client.settimeout(PATIENCE_S)
        assert client.recv(1000) == b"one"
        proxy.delay(0)
        proxy.throttle(None)
        assert ask(client, b"two") == b"two"


def test_who_is_refused_is_let_in_later_on_the_same_port(echo_port: int) -> None:
    with TcpProxy(echo_port) as proxy:
        with connect(proxy) as client:
            assert ask(client, b"one") == b"one"
            assert proxy.refuse() == 1
            with pytest.raises(ConnectionResetError):
                client.recv(1000)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.accept()
        with connect(proxy) as client:
            assert ask(client, b"two") == b"two"


def test_a_dead_server_looks_dead(free_port: int) -> None:
    with TcpProxy(free_port) as proxy:
        # The reset may be there before connect() has returned.
        with pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1000)
        assert proxy.accepted == 0
