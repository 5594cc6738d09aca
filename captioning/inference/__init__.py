"""From a trained network to captions."""
