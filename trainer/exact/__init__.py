"""Training steps against recorded ones of the authors' code."""
