# ncfm on CPUs, from the wheel:
#   make image                                              # make dist, then docker build
#   docker run --rm ncfm                                    # the demo
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" -v ncfm-cache:/cache ncfm distill my-photos --ipc 10
FROM python:3.11-slim

# The kernels for CPUs are compiled at their first use.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

# A CPU build of PyTorch, in the version that the tests use, then the wheel with the other pinned versions.
COPY constraints.txt dist/ncfm-*.whl /tmp/ncfm/
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu \
        "torch==$(sed -n 's/^torch==//p' /tmp/ncfm/constraints.txt)" \
    && pip install --no-cache-dir --constraint /tmp/ncfm/constraints.txt /tmp/ncfm/ncfm-*.whl \
    && rm -rf /tmp/ncfm

# Any user may run it: caches are in /cache, files of the user in /work.
ENV HOME=/cache LOGNAME=ncfm NCFM_CACHE=/cache/ncfm
RUN mkdir --mode 1777 /cache /work
USER nobody
WORKDIR /work
ENTRYPOINT ["ncfm"]
CMD ["demo"]
