"""The HTTP API: lists looked up and on demand, events in, similar items, forget, health."""
