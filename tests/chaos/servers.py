"""The broker and the Redis of a run, behind proxies where that is possible, and restartable."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis, free_port
from stream.settings import Settings
from stream.topics import create_topics, plan_topics
from tests.apache_kafka import ApacheKafka
from tests.chaos.goods import ITEMS
from tests.tcp_proxy import TcpProxy
from tests.tiny import tiny_bundle

FIRST_JOIN_MS = 3_000


class Broker(Protocol):
    """What a run asks of its broker."""

    proxy: TcpProxy | None
    """Between the workers and the broker; None where there is none."""

    @property
    def bootstrap(self) -> str:
        """For the workers."""

    @property
    def direct(self) -> str:
        """For those who watch: past the proxy."""

    def create_topics(self, settings: Settings) -> None:
        """Make the topics of the settings."""

    def fail(self, seconds: float) -> None:
        """Be gone, and come back with all that was acknowledged; after `seconds` if it may."""

    def stop(self) -> None:
        """End it."""


class KafkaBroker:
    """Apache Kafka with a second listener: what it advertises to the workers is the proxy."""

    def __init__(self, classpath: Path, folder: Path) -> None:
        behind = free_port()
        self.proxy: TcpProxy | None = TcpProxy(behind)
        self._kafka = _TwoWayKafka(classpath, folder, behind=behind, proxy=self.proxy.address)
        self.proxy.__enter__()
        try:
            self._kafka.start()
        except BaseException:
            self.proxy.__exit__(None, None, None)
            raise

    @property
    def bootstrap(self) -> str:
        """The proxy."""
        assert self.proxy is not None
        return self.proxy.address

    @property
    def direct(self) -> str:
        """Kafka itself."""
        return self._kafka.bootstrap

    def create_topics(self, settings: Settings) -> None:
        """By the admin client, as `nextclick topics` does."""
        create_topics(settings)

    def fail(self, seconds: float) -> None:
        """SIGKILL, then start on the same data at once; recovery from the log included."""
        self._kafka.kill()
        self._kafka.start()

    def stop(self) -> None:
        """End Kafka and the proxy."""
        self._kafka.stop()
        assert self.proxy is not None
        self.proxy.__exit__(None, None, None)


class _TwoWayKafka(ApacheKafka):
    """One listener for those who watch, one behind a proxy for the workers."""

    def __init__(self, classpath: Path, folder: Path, *, behind: int, proxy: str) -> None:
        self._behind, self._proxy = behind, proxy
        super().__init__(classpath, folder)

    def _all_properties(self) -> dict[str, str]:
        known = super()._all_properties()
        return known | {
            "listeners": f"{known['listeners']},PROXIED://127.0.0.1:{self._behind}",
            "advertised.listeners": f"{known['advertised.listeners']},PROXIED://{self._proxy}",
            "listener.security.protocol.map": (
                f"{known['listener.security.protocol.map']},PROXIED:PLAINTEXT"
            ),
        }


class EmbeddedKafka:
    """The embedded broker: in memory, so it can be away and must not die."""

    proxy: TcpProxy | None = None

    def __init__(self, settings: Settings) -> None:
        topics = {plan.name: plan.partitions for plan in plan_topics(settings)}
        self._broker = EmbeddedBroker(topics, first_join_ms=FIRST_JOIN_MS)
        self._broker.start()

    @property
    def bootstrap(self) -> str:
        """The same for all."""
        return self._broker.bootstrap

    @property
    def direct(self) -> str:
        """The same for all."""
        return self._broker.bootstrap

    def create_topics(self, settings: Settings) -> None:
        """They are there from the start."""

    def fail(self, seconds: float) -> None:
        """Drop every client and refuse new ones for a while."""
        with self._broker.outage():
            time.sleep(seconds)

    def stop(self) -> None:
        """End it."""
        self._broker.stop()


class Servers:
    """Broker, Redis with its append-only file, and the proxies; a context manager.

    Args:
        folder: for data, logs and the bundle.
        kafka: the folder of Apache Kafka's jars; None takes the embedded broker.
        partitions: of each topic.
    """

    def __init__(self, folder: Path, kafka: Path | None, partitions: int) -> None:
        self._folder = folder
        self._kafka = kafka
        self._partitions = partitions
        self._stack = ExitStack()
        self.broker_lock = threading.Lock()
        self.redis_lock = threading.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            base = {
                "bundle": self._folder / "bundle",
                "provider": "cpu",
                "partitions": self._partitions,
                "list_length": 3,
                "publish_replayed": True,
                "embedded": self._kafka is None,
                "redis_durability": "disk",
            }
            tiny_bundle(self._folder / "bundle", [item.item_id for item in ITEMS], length=10)
            self.broker: Broker = (
                KafkaBroker(self._kafka, self._folder / "kafka")
                if self._kafka
                else EmbeddedKafka(Settings(**base))
            )
            stack.callback(self.broker.stop)
            self.redis = EmbeddedRedis(
                directory=self._folder / "redis",
                appendonly=True,
                options={"appendfsync": "always"},
            )
            (self._folder / "redis").mkdir()
            stack.enter_context(self.redis)
            port = int(self.redis.address.rpartition(":")[2])
            self.redis_proxy = stack.enter_context(TcpProxy(port))
            base["brokers"] = self.broker.bootstrap
            base["redis_url"] = f"redis://{self.redis_proxy.address}/0"
            self.settings = Settings(**base)
            self.direct = self.settings.model_copy(
                update={"brokers": self.broker.direct, "redis_url": self.redis.url}
            )
            self.broker.create_topics(self.direct)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def kill_redis(self) -> None:
        """SIGKILL, then start on the append-only file and the same port."""
        with self.redis_lock:
            self.redis.kill()
            self.redis.start()

    def fail_broker(self, seconds: float) -> None:
        """Have the broker gone, and come back."""
        with self.broker_lock:
            self.broker.fail(seconds)


@contextmanager
def stalled(proxy: TcpProxy) -> Iterator[None]:
    """Nothing passes the proxy inside of the block."""
    proxy.stall()
    try:
        yield
    finally:
        proxy.resume()
