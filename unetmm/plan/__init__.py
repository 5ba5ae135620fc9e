"""What a run will take in memory and time, and the cut that fits the budget. No torch."""
