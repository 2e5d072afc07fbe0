"""The demonstration: everything from nothing, with real files, under a live reader and a live writer."""
