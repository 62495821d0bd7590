"""Operations: health checks, database outages, the file broker, static files, template context."""
