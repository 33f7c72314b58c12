"""From a slide to detections: detector, plan, tile reader, cascade, workers."""
