"""Episodes on the disk: the native store, and the windows that training reads from it."""
