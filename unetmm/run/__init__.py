"""A plan carried out: rows are read, go through the engine, and are written by chunk."""
