"""Choreography: services that react to one another's events, and nobody who orders them about."""
