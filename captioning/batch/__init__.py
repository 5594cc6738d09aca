"""Many pictures at once: folders, web pages, and captions kept in the photographs themselves."""
