"""CHS-NET's cascade and its fast sibling, with offline hard example mining."""
