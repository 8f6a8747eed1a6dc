"""What ``spcl bench`` measures: time, memory and speed against what the hardware gives, in one run."""
