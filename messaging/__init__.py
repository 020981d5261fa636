"""What every program speaks: messages, topology and the broker. No SQL, no saga rules."""
