"""The face in napari: cases as layers, legends, readers. Nothing below this room knows of a window."""
