"""The roadcast command."""
