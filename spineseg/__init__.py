"""Segment and name the 25 vertebrae in CT with a V-Net."""
