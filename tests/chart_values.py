"""Values that people would give the chart, from the least that it takes to nearly everything."""

from typing import Any

LEAST: dict[str, Any] = {"bundle": {"claim": "bundles", "folder": "20261129-60fe71a3f07f"}}

ON_THE_CPU: dict[str, Any] = {
    "settings": {"provider": "cpu", "events_max_message_bytes": 10_485_880, "diversity": 0.3},
    "bundle": {"initContainer": {"name": "fetch", "image": "fetcher:1", "args": ["/bundle"]}},
    "worker": {"gpu": {"count": 0}, "replicas": 3},
    "topics": {"create": False},
    "networkPolicy": {"enabled": False},
    "serviceAccount": {"name": "theirs"},
}

FULL: dict[str, Any] = {
    "image": {
        "repository": "registry.example/nextclick",
        "digest": f"sha256:{'0' * 64}",
        "pullSecrets": [{"name": "pull"}],
    },
    "settings": {
        "brokers": "kafka-0:9093,kafka-1:9093",
        "redis_url": "rediss+cluster://redis:6379",
        "kafka_security": "SASL_SSL",
        "partitions": 64,
        "provider": "cpu",
        "inputs": "clicks=segment,searches=/etc/nextclick/mappings/searches.toml",
        "publish_replayed": True,
    },
    "secrets": {
        "kafka_username": {"name": "kafka", "key": "user"},
        "kafka_password": {"name": "kafka", "key": "password"},
        "redis_password": {"name": "redis", "key": "password"},
        "user_hash_secret": {"name": "users", "key": "hash"},
    },
    "secretFiles": {
        "kafka_ca_file": {"name": "kafka", "key": "ca.crt"},
        "redis_ca_file": {"name": "redis", "key": "ca.crt"},
    },
    "rules": '[[hide]]\nbrands = ["茶颜悦色"]\n',
    "mappings": {"searches.toml": 'about = "搜索"\n'},
    "bundle": {"image": "registry.example/bundles:1", "path": "/bundles", "folder": "b1"},
    "worker": {
        "gpu": {"count": 0},
        "autoscaling": {"enabled": True, "maxReplicas": 64},
        "podAnnotations": {"team": "search"},
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "pool", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    },
    "api": {
        "enabled": True,
        "keys": {"name": "keys"},
        "image": {"repository": "registry.example/nextclick", "tag": "0.1.0-cpu"},
        "tlsSecret": "tls",
        "autoscaling": {"enabled": True},
    },
    "networkPolicy": {
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "apiFrom": [{"podSelector": {"matchLabels": {"app": "shop"}}}],
        "kafka": {"ports": [9093]},
        "extraEgress": [{"ports": [{"port": 443}]}],
    },
    "metrics": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "apiKey": {"name": "metrics-key"},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}

ALL: dict[str, dict[str, Any]] = {"least": LEAST, "on the CPU": ON_THE_CPU, "full": FULL}
