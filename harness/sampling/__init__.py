"""A sampler at work: four parts on a device, the noise of its images, pixels, and the ranks that work together."""
