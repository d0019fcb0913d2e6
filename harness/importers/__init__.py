"""Networks of other programs, converted once into safetensors, a network card and a record of their origin."""
