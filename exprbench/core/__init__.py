"""Foundation of all packages in this repository: errors, files, cache, processes, command lines."""
