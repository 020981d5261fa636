"""What `saga doctor` looks at, one part of an installation in each module."""
