"""The classes a user fits."""
