"""What changes a job's record, each transition one conditional write that sets exactly its own fields."""
