"""RabbitMQ and PostgreSQL for tests: found, or started for the occasion. Standard library only."""
