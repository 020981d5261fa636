"""The core: pure functions over frozen values. The standard library only, and no I/O."""
