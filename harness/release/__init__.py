"""What must hold before a version is tagged: documents, reference runs, and a wheel that works where no source is."""
