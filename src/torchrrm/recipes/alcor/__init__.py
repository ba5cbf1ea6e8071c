"""Demands that change: ALCOR, its benchmarks, and the way past it [Behmandpoor2024]."""
