"""What a study and a case are, and how a warp carries points and pixels. Opens no file."""
