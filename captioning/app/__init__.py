"""What the app shows."""
