"""The page: what a node publishes, live in a browser. A subscriber like any other, on the browser's side."""
