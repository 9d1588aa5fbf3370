"""Where manifests come from: a source yields batches of changes, the first of which is all that it holds.

directory -> files (bytes) -> folder (claims) -> Batch -> admission -> rows for the store
"""
