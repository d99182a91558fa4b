"""Tests of whole installations: fixtures of scope "package" are shared by all of this folder."""
