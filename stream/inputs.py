"""The further topics of events, each with its mapping."""

from model.mapping import Mapping, MappingError
from stream.settings import Settings


def read_mapping(topic: str, name: str) -> Mapping:
    """The mapping of a topic. Raises MappingError: it cannot be used, or makes no events."""
    mapping = Mapping.named(name)
    if not mapping.makes_events:
        raise MappingError(
            f"the mapping {name} of the topic `{topic}` makes items and no events; name another "
            "in `inputs`"
        )
    return mapping


def read_mappings(settings: Settings) -> dict[str, Mapping]:
    """The mappings of all of them, by topic. Raises MappingError."""
    return {topic: read_mapping(topic, name) for topic, name in settings.input_mappings.items()}
