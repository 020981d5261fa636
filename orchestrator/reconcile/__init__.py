"""What a lost commit or a restored backup has left behind: found, and repaired where it is safe."""
