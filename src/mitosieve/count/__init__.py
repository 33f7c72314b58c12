"""What is counted on a slide: hotspot, mitotic score, summary, heat map. Counting needs no truth."""
