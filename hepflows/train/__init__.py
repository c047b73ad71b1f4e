"""Training: loop, objectives, distillation, checkpoints and progress."""
