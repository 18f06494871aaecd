"""What was corrected in a shot, taught to the model as a LoRA."""
