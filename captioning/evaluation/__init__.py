"""How good captions are, and how certain that is."""
