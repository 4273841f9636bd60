"""Files: the only room that opens them. Slides, label stores, annotations, maps, patches and runs, one kind a file."""
