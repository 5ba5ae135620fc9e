"""What an output was made from, and whether it is still what was written."""
