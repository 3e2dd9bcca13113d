"""What tells a topic from another one that had its name: deleted and made again, it is another.

Offsets of a topic that was made again begin anew, so whatever remembers an offset has to remember
this identity beside it, or it takes the new topic's events for old ones.
"""

import asyncio
import logging
from uuid import UUID

from kafka import KafkaAdminClient

from stream.kafka import no_topic
from stream.settings import Settings
from stream.topics import admin_client

logger = logging.getLogger(__name__)

NO_ID = UUID(int=0)
"""What a broker answers that knows no topic ids."""


async def topic_identity(settings: Settings, topic: str) -> str:
    """The topic's UUID, as the cluster's metadata has it: lower-case hex with hyphens.

    Every broker and every client of the cluster tells the same one; it changes when the topic is
    deleted and made again. A broker without topic ids (Apache Kafka before 2.8) gets
    ``CLUSTER/TOPIC``, its cluster's id and the name: stable, but the same for a topic that was
    made again, of which a warning says what to do then.

    Raises:
        BrokerError: no broker answers.
        TopicError: there is no such topic, or Kafka refuses.
    """
    return await asyncio.to_thread(_identity, settings, topic)


def _identity(settings: Settings, topic: str) -> str:
    with admin_client(settings) as admin:
        # All topics: asked for one by name, some brokers would make it.
        found = {each["name"]: each.get("topic_id") for each in admin.describe_topics()}
        if topic not in found:
            raise no_topic(settings, topic)
        number = UUID(str(found[topic] or NO_ID))
        return str(number) if number != NO_ID else _substitute(admin, topic)


def _substitute(admin: KafkaAdminClient, topic: str) -> str:
    logger.warning(
        "this Kafka has no topic ids (Apache Kafka has them from 2.8 on), so a topic that is "
        "deleted and made again looks like the old one: set a new NEXTCLICK_REDIS_PREFIX then"
    )
    return f"{admin.describe_cluster()['cluster_id']}/{topic}"
