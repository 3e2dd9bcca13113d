"""The past again: from Kafka or files into the ``events`` topic or a shadow generation."""
