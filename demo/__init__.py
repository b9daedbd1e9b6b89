"""A storage ring, recorded programs and a model server: what the demo and the tests run against."""
