"""The world: one thing outside the program each. They decide nothing, and none imports another."""
