"""Files to arrays and back: the only floor that touches a scan on disk."""
