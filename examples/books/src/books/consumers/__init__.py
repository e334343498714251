"""What acts on the events; the same in both modes."""
