"""Drawing scenes for people: overlays, boxes, legends, videos."""
