"""The daemon: the scan loop, and the thread that calls RUFUS."""
