"""A user's model: found, fed, and run once under watch. The only part that imports torch in our process."""
