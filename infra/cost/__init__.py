"""What an installation costs."""
