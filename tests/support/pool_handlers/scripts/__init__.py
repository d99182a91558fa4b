"""The processes of the pools beside."""
