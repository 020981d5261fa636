"""What every program stands on: settings, lifecycle, health, logs, metrics, tracing."""
