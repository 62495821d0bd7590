"""Operations: health checks, outages, errors, opened forms, the file broker, static files, zones, context."""
