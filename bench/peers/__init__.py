"""Other systems, on their best sensible settings, in environments of their own."""
