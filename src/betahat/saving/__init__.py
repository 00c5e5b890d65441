"""Results as files: records, tensors and labels become a tree of strings and numbers, and back."""
