"""A service in which books are added and removed, and which tells the others so."""
