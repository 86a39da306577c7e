"""Decides and touches nothing: the configuration, the triggers, a close's life, what RUFUS's answers mean."""
