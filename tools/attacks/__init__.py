"""Attacks on the captioner, for tests in a small number and for make soak as a whole."""
