"""The foundation of every package here: errors, files, cache, processes, command lines. Knows nothing of faces."""
