"""Memory planning, offloading and parallelism."""
