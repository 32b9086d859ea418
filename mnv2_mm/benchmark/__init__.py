"""Time this project and its peers side by side; see tools/benchmark.py."""
