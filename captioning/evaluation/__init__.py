"""How good captions are, and how sure one can be of it."""
