"""The DLQ worker: keeps every dead letter, recovers what it can, calls a person for the rest."""
