"""The version of this project, for places where it runs from source without being installed."""

VERSION = "0.1.0"
