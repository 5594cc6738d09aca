"""What goes in: photographs, captions, splits, batches."""
