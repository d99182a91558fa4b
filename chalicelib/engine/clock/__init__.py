"""What the clock does every minute."""
