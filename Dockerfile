# Duel in a container. For the CPU:  docker build --tag duel .
# For CUDA:                          docker build --tag duel:cuda --build-arg ACCELERATOR=cuda .
# The code lies at /opt/duel, where deployments made from inside the image look for it; runs and images at /state.
FROM python:3.12.12-slim-bookworm

ARG ACCELERATOR=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 DUEL_STATE=/state
WORKDIR /opt/duel

# torch alone first: it is gigabytes, and changes less often than the code. PyPI's build carries its CUDA libraries.
COPY constraints.txt ./
RUN index="$([ "$ACCELERATOR" = cuda ] && echo https://pypi.org/simple || echo https://download.pytorch.org/whl/cpu)" \
    && pip install --index-url "$index" --extra-index-url https://pypi.org/simple --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY duel duel
COPY cache cache
COPY artifacts artifacts
COPY tasks tasks
COPY flows flows
RUN pip install --constraint constraints.txt --editable . \
    && useradd --create-home --uid 1000 duel \
    && mkdir /state \
    && chown duel:duel /state

USER 1000
VOLUME /state
CMD ["duel", "--help"]
