"""Hydra configuration groups, reached as `pkg://eztorch.configs`: data only, one file a concept."""
