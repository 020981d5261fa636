"""The whole product in one thread and virtual time, with faults drawn by a seed."""
