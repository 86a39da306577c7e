"""Facts in, lines for people out; it touches nothing."""
