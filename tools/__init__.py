"""What developers run: measuring, judging, drawing the pictures of the docs."""
