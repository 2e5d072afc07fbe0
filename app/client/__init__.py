"""What a service that owns the assets copies into its own code: one file, without an import of ours."""
