"""One file per algorithm: its objectives and its schedule."""
