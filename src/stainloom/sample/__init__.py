"""The simulated study, and real slides to try the program on."""
