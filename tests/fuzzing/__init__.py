"""Fuzzing: properties of everything that reads what others have written.

`targets` has them all; `test_fuzzing` tries each for a moment, `long_run` for as long as one
likes (`make fuzz`), and `atheris_targets` guided by coverage.
"""
