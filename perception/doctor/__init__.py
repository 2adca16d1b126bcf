"""What a machine has of what roadcast uses: each part with its version, a verdict, and what to do about it."""
