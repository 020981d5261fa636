"""Where alerts go: the log, a webhook, an Alertmanager, and whatever apprise can reach."""
