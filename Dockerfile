# Two stages: the first installs what uv.lock names and collects the static files, the second only runs.
FROM python:3.11-slim-bookworm AS builder
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
WORKDIR /app
# The packages first: they change less often than the source.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev
COPY . .
# No key is needed to collect files, and this one is in no later layer's environment.
RUN SECRET_KEY=for-collecting-static-files-only CELERY_BROKER_URL=memory:// \
    .venv/bin/python manage.py collectstatic --noinput

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pennypress
WORKDIR /app
COPY --from=builder /app /app
# All interfaces: 127.0.0.1 inside a container cannot be reached from outside it.
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 WEB_BIND=0.0.0.0:8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "deploy/healthcheck.py"]
CMD ["gunicorn"]
