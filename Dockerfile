# An image of `discoformer serve`. It runs as a user without rights and needs no network once it is built.
#
#     docker build --tag discoformer .
#     docker run --rm --publish 127.0.0.1:8000:8000 --volume "$PWD:/data:ro" discoformer base /data/iris.estimate
#
# Let nobody but those who may ask reach the port, or set a token: --env DISCOFORMER_TOKEN=...
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY runtime runtime
COPY training training
COPY export export
COPY models models
RUN python -m venv /opt/discoformer \
    && /opt/discoformer/bin/pip install --no-cache-dir --constraint constraints.txt ".[cpu,serve]"

FROM python:3.11-slim
COPY --from=build /opt/discoformer /opt/discoformer
ENV PATH=/opt/discoformer/bin:$PATH PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --no-create-home --uid 10001 discoformer
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["discoformer", "serve", "--host", "0.0.0.0"]
CMD ["base"]
