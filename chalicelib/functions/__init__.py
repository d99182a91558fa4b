"""Lambda entries: each turns an event of AWS's shape into one call of the engine."""
