"""Reports as web pages of one file, that need no server and no network."""
