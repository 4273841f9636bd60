"""What a study came to, as one page that needs no program but a browser."""
