"""How fast it is, side by side with the peers: ``python -m benchmarks [names]``."""
