"""What a cluster needs beside the charts (README.md)."""
