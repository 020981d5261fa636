"""Drills of the examples: `saga drill orchestrator.testing.drill.examples.bank_transfer`."""
