"""What is on this machine: probes that never judge, never print, never raise for an absence."""
