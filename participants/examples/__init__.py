"""Participants to run, read and copy from."""
