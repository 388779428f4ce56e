"""Run stages shard by shard: on this machine, as Slurm ranks, or on Ray."""
