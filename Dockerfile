# docker build -t beamhouse .
# docker run -p 8000:8000 -v beamhouse:/data beamhouse [MODEL] [--option …]
#
# TORCH_INDEX is the index with the build of torch to install: by default the one for processors. For a GPU, pass the
# index of its CUDA version and run with `--gpus all`.

FROM python:3.11-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
RUN python -m venv /opt/beamhouse
ENV PATH=/opt/beamhouse/bin:$PATH
WORKDIR /src
# The index of torch serves torch alone, so that no other package can come from there.
COPY requirements.lock ./
RUN grep '^torch==' requirements.lock > torch.lock \
    && pip install --no-deps --index-url "$TORCH_INDEX" -r torch.lock \
    && pip install -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY beamhouse beamhouse
COPY config config
COPY schemas schemas
COPY client client
COPY engine engine
COPY server server
RUN PIP_ONLY_BINARY= pip install --no-deps --no-build-isolation .
# The image has no compiler: the kernels for every processor of its kind come with it.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ \
    && python -m beamhouse.engine.native.compiler /opt/beamhouse/kernels

FROM python:3.11-slim
LABEL org.opencontainers.image.title="beamhouse" \
      org.opencontainers.image.description="All of Hugging Face generate() over HTTP, continuously batched" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/beamhouse /opt/beamhouse
RUN mkdir /data && chown 10001:10001 /data
ENV PATH=/opt/beamhouse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data \
    BEAMHOUSE_KERNELS_DIR=/opt/beamhouse/kernels \
    HOME=/tmp
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10m --start-interval=1s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["beamhouse", "serve", "--host", "0.0.0.0"]
