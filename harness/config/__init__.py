"""What a suite, a network and a zoo entry say in their files, read and validated."""
