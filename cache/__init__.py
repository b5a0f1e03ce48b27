"""Persistent stores for paid results: images, judge replies, and a ledger of purchases."""
