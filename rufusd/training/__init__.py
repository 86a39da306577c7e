"""Learning and showing without hardware or RUFUS; no station needs any of it."""
