"""What is paid for once: drawn images, stored by the hash of their request."""
