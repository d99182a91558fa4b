"""Bringing records of Kafka in, where no event source of Lambda does."""
