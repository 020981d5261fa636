"""The worker: intake, batch, decide, save, publish, settle; and the clock."""
