"""The app: its pages, and what they remember."""
