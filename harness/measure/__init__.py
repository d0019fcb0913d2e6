"""What is measured beside images: distances, time, work."""
