"""Pre-training and measurement of the two small models shipped with the offline world."""
