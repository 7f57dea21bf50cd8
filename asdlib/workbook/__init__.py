"""What holds the notebooks together: their settings, their files, and the command line."""
