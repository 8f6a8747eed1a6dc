"""Experiment trackers as listeners of a run (TensorBoard, MLflow, W&B, trackio), and the pictures they show."""
