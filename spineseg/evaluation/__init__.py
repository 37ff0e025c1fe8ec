"""Label maps to numbers. Knows no network: it scores a folder of predictions."""
