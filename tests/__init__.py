"""Tests of the template: of the generator, of the tree, of emitted projects."""
