"""One file a study: `run(config) -> Result`."""
