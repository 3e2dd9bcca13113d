"""One node of Apache Kafka in KRaft mode, for tests: on 127.0.0.1, its data in a folder.

Run as a program, this module is the keeper of Kafka's process (see `stream.embedded.keep`).
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from stream.embedded import (
    START_SECONDS,
    EmbeddedError,
    KeptServer,
    die_with_parent,
    keep,
    outlive_nobody,
    say,
)
from tests.certificates import Authority
from tests.maven import KafkaMissing, MavenUnreachable, fetch_kafka

__all__ = ["ApacheKafka", "KafkaMissing", "MavenUnreachable", "fetch_kafka"]

JAVA_VERSION = 17  # what Kafka 4 asks of a broker
JVM = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
CLUSTER_ID = "bmV4dGNsaWNrLXRlc3QtMQ"  # any 16 bytes in base64
STARTED = "Kafka Server started"
USER, PASSWORD = "shop", "open-sesame"

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    # One node keeps one copy.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Quick to start: few internal partitions, and no wait for further members of a group.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
}
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearer"
SASL_PROPERTIES = {
    "sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM]),
    **{f"{each.lower()}.sasl.jaas.config": SCRAM_MODULE for each in SCRAM},
}
LOGGING = """<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server" level="INFO"/>
    <Logger name="kafka.authorizer.logger" level="DEBUG"/>
  </Loggers>
</Configuration>
"""


class ApacheKafka(KeptServer):
    """A Kafka broker and controller in one process; also a context manager.

    Args:
        classpath: the folder that `fetch_kafka` returns.
        folder: for data, configuration and ``kafka.log``; a second object on the same folder has
            the first one's data.
        properties: more of server.properties.
        listeners: security protocols to listen with, a port each: PLAINTEXT, SSL, SASL_PLAINTEXT,
            SASL_SSL. SASL knows `USER` and `PASSWORD` by PLAIN and SCRAM; clients trust the
            authority's file for TLS. The first one is `bootstrap` and carries the traffic inside.
        token_keys: JSON Web Keys whose tokens SASL takes too, by OAUTHBEARER, for the audience
            "kafka".
        asks_clients: whether the SSL listener wants a certificate of the authority's from clients.
        limited: further users, who log in by PLAIN with `PASSWORD` and may do what ACLs allow them.
            Where there are any, Kafka asks its authorizer, to which `USER` and whoever does not log
            in are super users.

    Raises:
        KafkaMissing: Java is missing or too old.
    """

    def __init__(
        self,
        classpath: Path,
        folder: Path,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[str] = ("PLAINTEXT",),
        token_keys: Sequence[Mapping[str, str]] = (),
        asks_clients: bool = False,
        limited: Sequence[str] = (),
    ) -> None:
        self._java = _find_java()
        self._classpath = f"{classpath}/*"
        self._folder = folder
        self.authority = Authority(folder / "tls")
        """Vouches for the broker, and for clients that are asked for a certificate."""
        self._token_keys = token_keys
        self._asks_clients = asks_clients
        self._limited = limited
        self._properties = dict(properties or {})
        self._ports = free_ports([*listeners, "CONTROLLER"])
        super().__init__(__name__, None, self._java, self._classpath, str(folder))

    @property
    def bootstrap(self) -> str:
        """``127.0.0.1:port`` of the first listener."""
        return self.bootstrap_for(next(iter(self._ports)))

    def bootstrap_for(self, protocol: str) -> str:
        """``127.0.0.1:port`` of the listener with this security protocol."""
        return f"127.0.0.1:{self._ports[protocol]}"

    @property
    def log(self) -> Path:
        """What it writes: of its authorizer, all that it allows and refuses."""
        return self._folder / "kafka.log"

    def start(self) -> Self:
        """Start Kafka on its folder, formatted at the first start; raises `EmbeddedError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.xml").write_text(LOGGING)
        self._key_file.write_text(json.dumps({"keys": list(self._token_keys)}))
        lines = [f"{name}={value}" for name, value in self._all_properties().items()]
        properties = self._folder / "server.properties"
        properties.write_text("\n".join(lines) + "\n")
        if not (self._folder / "data/meta.properties").exists():
            command = [*_java(self._java, self._classpath, self._folder), "kafka.tools.StorageTool"]
            command += ["format", "-t", CLUSTER_ID, "-c", str(properties)]
            for mechanism in SCRAM:
                command += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
            _checked(command)
        return super().start()

    def restart(self) -> None:
        """Stop and start on the same data and ports."""
        self.stop()
        self.start()

    @property
    def _key_file(self) -> Path:
        return token_key_file(self._folder)

    def _all_properties(self) -> dict[str, str]:
        inside = next(iter(self._ports))
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        protocols = {name: name for name in self._ports} | {"CONTROLLER": "PLAINTEXT"}
        properties = PROPERTIES | {
            "log.dirs": str(self._folder / "data"),
            "listeners": listeners,
            "advertised.listeners": listeners.rpartition(",CONTROLLER")[0],
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "inter.broker.listener.name": inside,
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
        }
        for name in self._ports:
            prefix = f"listener.name.{name.lower()}."
            if name.startswith("SASL"):
                properties |= {prefix + key: value for key, value in self._logins().items()}
            if name.endswith("SSL"):
                store = self.authority.server_store(PASSWORD)
                properties[prefix + "ssl.keystore.location"] = str(store)
                properties[prefix + "ssl.keystore.password"] = PASSWORD
            if name == "SSL" and self._asks_clients:
                properties[prefix + "ssl.client.auth"] = "required"
                properties[prefix + "ssl.truststore.type"] = "PEM"
                properties[prefix + "ssl.truststore.location"] = str(self.authority.ca_file)
        if self._limited:
            properties["authorizer.class.name"] = AUTHORIZER
            properties["super.users"] = f"User:{USER};User:ANONYMOUS"
        return properties | self._properties

    def _logins(self) -> dict[str, str]:
        users = " ".join(f'user_{each}="{PASSWORD}"' for each in (USER, *self._limited))
        logins = SASL_PROPERTIES | {"plain.sasl.jaas.config": f"{PLAIN_MODULE} {users};"}
        if not self._token_keys:
            return logins
        mechanisms = logins["sasl.enabled.mechanisms"]
        return logins | {
            "sasl.enabled.mechanisms": f"{mechanisms},OAUTHBEARER",
            "sasl.oauthbearer.jwks.endpoint.url": self._key_file.as_uri(),
            "sasl.oauthbearer.expected.audience": "kafka",
            "oauthbearer.sasl.jaas.config": f"{OAUTH}LoginModule required;",
            "oauthbearer.sasl.server.callback.handler.class": f"{OAUTH}ValidatorCallbackHandler",
        }


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free port for each; all are held at once, or one might be given twice."""
    with ExitStack() as stack:
        probes = {name: stack.enter_context(socket.socket()) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


def token_key_file(folder: Path) -> Path:
    """Where Kafka finds the keys of tokens."""
    return folder / "keys.json"


def _find_java() -> str:
    java = shutil.which("java")
    if java is None:
        raise KafkaMissing(f"Java {JAVA_VERSION} or later is missing: apt-get install default-jre.")
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_VERSION:
        raise KafkaMissing(f"Kafka needs Java {JAVA_VERSION} or later; {java} says: {told.strip()}")
    return java


def _java(java: str, classpath: str, folder: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
    keys = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={token_key_file(folder).as_uri()}"
    return [java, *JVM, logging, keys, "-cp", classpath]


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise EmbeddedError(
            f"{' '.join(command)} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        )


def main() -> None:
    """Keep Kafka: the arguments are the java program, the class path and the folder."""
    java, classpath, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    outlive_nobody()
    log = folder / "kafka.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*_java(java, classpath, folder), "kafka.Kafka", str(folder / "server.properties")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # safe: the keeper has one thread so far
        )
    deadline = time.monotonic() + START_SECONDS
    while STARTED not in (written := log.read_text(errors="replace")):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            say("error", f"Kafka did not start: {written[-1500:]}")
            sys.exit(1)
        time.sleep(0.05)
    keep(server, str(folder))


if __name__ == "__main__":
    main()
