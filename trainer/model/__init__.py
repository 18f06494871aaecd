"""The model in training: what is trained of it, by which objective, and as the engine runs it afterwards."""
