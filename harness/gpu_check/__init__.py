"""The verb `gpu-check`: what a GPU machine must show in its first half hour, by one command, on one page."""
