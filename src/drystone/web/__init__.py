"""The web side of a server: health, metrics, and the events that come in."""
