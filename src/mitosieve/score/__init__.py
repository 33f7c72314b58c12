"""Detections against marks: matching, figures, intervals."""
