"""Compiled single-instance loops and their parallel batch forms: pure functions of arrays, without torch."""
