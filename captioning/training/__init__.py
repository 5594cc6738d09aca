"""How the network learns, and the stages of a training run."""
