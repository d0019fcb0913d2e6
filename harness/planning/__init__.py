"""From a suite to trials and the tasks that they share, each with an identity. Nothing runs here."""
