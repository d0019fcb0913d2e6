"""The verb `new`: writes a method, a data set card or a suite that works, with what to do next."""
