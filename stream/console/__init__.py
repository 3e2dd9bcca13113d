"""The console: a page to shop in, and to watch what the stream makes of it."""
