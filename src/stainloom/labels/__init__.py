"""Labels as outlines and as pixels, carried from the reference to the other stains, and measured."""
