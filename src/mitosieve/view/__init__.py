"""See and decide: slides, detections and marks in a browser, and decisions on them, from one local process."""
