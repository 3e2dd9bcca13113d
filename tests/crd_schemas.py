"""What our custom resources may hold: the fields that the chart writes, as their makers document.

Narrower than the real definitions, so that a misspelt field is found; of KEDA 2.x and of the
Prometheus Operator's monitoring.coreos.com/v1.
"""

from typing import Any

TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False}
    return closed | {"properties": properties, "required": required}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


_SELECTOR = _object(
    ["matchLabels"],
    matchLabels={"type": "object", "additionalProperties": TEXT, "minProperties": 1},
)
_ENDPOINT: dict[str, Any] = {
    "port": TEXT,
    "path": {"const": "/metrics"},
    "interval": {"type": "string", "pattern": "^[0-9]+[smh]$"},
    "relabelings": _list(
        _object(["action"], action={"const": "replace"}, targetLabel=TEXT, replacement=TEXT)
    ),
}
_KAFKA_TRIGGER = _object(
    ["bootstrapServers", "consumerGroup", "topic"],
    bootstrapServers=TEXT,
    consumerGroup=TEXT,
    topic=TEXT,
    lagThreshold={"type": "string", "pattern": "^[1-9][0-9]*$"},
    offsetResetPolicy={"enum": ["latest", "earliest"]},
    allowIdleConsumers={"enum": ["true", "false"]},
    tls={"enum": ["enable", "disable"]},
    sasl={"enum": ["plaintext", "scram_sha256", "scram_sha512"]},
)
_BEHAVIOUR = _object(
    [],
    scaleDown=_object(
        [],
        stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
        policies=_list(
            _object(
                ["type", "value", "periodSeconds"],
                type={"enum": ["Pods", "Percent"]},
                value=COUNT,
                periodSeconds=COUNT | {"maximum": 1800},
            )
        ),
    ),
)

SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _object(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=_object(["name"], name=TEXT),
        pollingInterval=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        advanced=_object([], horizontalPodAutoscalerConfig=_object([], behavior=_BEHAVIOUR)),
        triggers=_list(
            _object(
                ["type", "metadata"],
                type={"const": "kafka"},
                metadata=_KAFKA_TRIGGER,
                authenticationRef=_object(["name"], name=TEXT),
            )
        ),
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): _object(
        ["secretTargetRef"],
        secretTargetRef=_list(
            _object(
                ["parameter", "name", "key"],
                parameter={"enum": ["username", "password", "ca", "cert", "key"]},
                name=TEXT,
                key=TEXT,
            )
        ),
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _object(
        ["selector", "podMetricsEndpoints"],
        selector=_SELECTOR,
        podMetricsEndpoints=_list(_object(["port"], **_ENDPOINT)),
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _object(
        ["selector", "endpoints"],
        selector=_SELECTOR,
        endpoints=_list(
            _object(
                ["port"],
                **_ENDPOINT,
                scheme={"enum": ["http", "https"]},
                authorization=_object(
                    ["credentials"],
                    type={"const": "Bearer"},
                    credentials=_object(["name", "key"], name=TEXT, key=TEXT),
                ),
            )
        ),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _object(
        ["groups"],
        groups=_list(
            _object(
                ["name", "rules"],
                name=TEXT,
                rules=_list(
                    _object(
                        ["alert", "expr"],
                        alert=TEXT,
                        expr=TEXT,
                        labels={"type": "object"},
                        annotations={"type": "object"},
                        **{"for": {"type": "string", "pattern": "^[0-9]+[smh]$"}},
                    )
                ),
            )
        ),
    ),
}
