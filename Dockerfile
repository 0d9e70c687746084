# Two images from one file:
#
#   docker build -t pydag-gcp:slim .                  runs pipelines; for real projects
#   docker build -t pydag-gcp:full --target full .    has the local cloud too: DuckDB, Spark, Java
#
# What pydag needs lies in layers below pydag itself, so a changed module costs one wheel of 1 MB; what pip downloads
# stays in a cache mount, so a changed dependency costs that dependency.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

FROM python AS requirements
COPY pyproject.toml /
# With the clients of PostgreSQL and Redis: containers keep what must last elsewhere.
RUN python -c 'import tomllib; p = tomllib.load(open("/pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; print(*p["dependencies"], *e["postgres"], *e["redis"], sep="\n")' \
      > /core.txt \
    && python -c 'import tomllib; print(*tomllib.load(open("/pyproject.toml", "rb"))["project"]["optional-dependencies"]["local"], sep="\n")' \
      > /local.txt

FROM python AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operators operators
COPY pydag_gcp pydag_gcp
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --quiet --no-deps --wheel-dir /wheels .

FROM python AS core
# Numbers, so that a volume keeps its owner and an orchestrator can see that this is not root.
RUN groupadd --gid 10001 pydag \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin pydag \
    && install --directory --owner 10001 --group 10001 /app /var/lib/pydag
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=requirements,target=/requirements \
    pip install --quiet --requirement /requirements/core.txt
# The volume takes the place of .pydag; what is mounted on /app may be read-only.
ENV PYDAG_HOME=/var/lib/pydag PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM core AS full
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=requirements,target=/requirements \
    pip install --quiet --requirement /requirements/local.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --quiet --no-deps /wheels/*.whl
USER 10001:10001
ENTRYPOINT ["pydag"]
CMD ["--help"]

FROM core AS slim
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels pip install --quiet --no-deps /wheels/*.whl
USER 10001:10001
ENTRYPOINT ["pydag"]
CMD ["--help"]
