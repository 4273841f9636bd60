"""Where each place of the reference section lies on another section of the same block."""
