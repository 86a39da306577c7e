"""rufusd ends a race properly: it closes a RUFUS timing session when a button or a reader says so."""

__version__ = "0.1.0"
