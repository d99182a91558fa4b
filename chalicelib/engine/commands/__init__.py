"""What people and other systems ask of a job that is there already."""
