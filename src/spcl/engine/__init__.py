"""Programs made of the parts below: training, extraction, evaluation, checkpoints."""
