"""An output while it grows: its workspace, journal and lock, its pyramid, its chunks."""
