"""What a saga's programs have agreed on: drawn from the definitions, written down, and verified."""
