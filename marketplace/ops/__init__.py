"""What keeps a process alive and tells whether it is: health, outages, the queue, static files."""
