"""Facts and small tools that every layer may use. Nothing here imports another part of eztorch."""
