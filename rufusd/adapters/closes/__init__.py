"""The closes on disk, and all that keeps them there: one folder of files, and nothing else of the world."""
