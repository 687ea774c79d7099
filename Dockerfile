# Brain Game in a container (docs/operations.md, "Install with containers"): docker build -t braingame .
# Without DATABASE_URL and REDIS_URL it runs stores of its own in the volume.

FROM python:3.11-slim-bookworm AS build
COPY requirements.txt /
RUN python -m venv /opt/braingame/.venv \
    && /opt/braingame/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r /requirements.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/braingame --shell /usr/sbin/nologin braingame \
    && chmod 700 /var/lib/braingame
COPY --from=build /opt/braingame/.venv /opt/braingame/.venv
COPY run_server.py schema.sql /opt/braingame/
COPY game /opt/braingame/game
COPY images /opt/braingame/images
COPY protocol /opt/braingame/protocol
COPY storage /opt/braingame/storage
COPY server /opt/braingame/server
COPY conformance /opt/braingame/conformance
COPY client/js /opt/braingame/client/js
COPY web /opt/braingame/web

ENV BRAINGAME_HOST=0.0.0.0 BRAINGAME_DATA_DIR=/var/lib/braingame PYTHONDONTWRITEBYTECODE=1
# By number, so that whoever forbids root can see that it is not.
USER 10001
WORKDIR /var/lib/braingame
VOLUME /var/lib/braingame
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/opt/braingame/.venv/bin/python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"BRAINGAME_PORT\") or 8080}/readyz', timeout=4)"]
ENTRYPOINT ["/opt/braingame/.venv/bin/python", "/opt/braingame/run_server.py"]
