"""What people decide about detections, and what follows from it."""
