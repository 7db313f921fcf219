"""Random fields: an energy over the labels of all pixels; ways to minimise it and to sample from it."""
