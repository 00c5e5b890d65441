"""Results as files: records, tensors and labels become a tree of words and numbers, and back."""
