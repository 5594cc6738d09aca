"""Folders of pictures: which ones, captions that survive interruptions, what is written of them."""
