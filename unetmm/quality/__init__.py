"""How good a model is: metrics, test sets, tables and galleries of the worst."""
