"""Video and sentences to soft masks: windows, takes, sizes, and the second look at small things."""
