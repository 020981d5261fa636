"""`saga demo`: the whole product in one process, with orders that go well and others."""
