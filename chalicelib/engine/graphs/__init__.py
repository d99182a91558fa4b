"""Graphs of tasks: accept one, start its nodes, and go on when one of them is done."""
