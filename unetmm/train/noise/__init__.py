"""Noise of every kind a training mixes: each kind a seeded function of one clean patch."""
