"""Detections to files, one format a module."""
