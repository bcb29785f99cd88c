"""Runs: one execution of a child workflow for one trigger item, step by step, surviving every crash."""
