"""Case suites: each turns cases into predictions through the public code of the product."""
