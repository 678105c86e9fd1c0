# The image of a bento, in place of the one that BentoML makes. Packages are installed in a stage of their own, so that
# only they are in the image: pinned, wheels only, without what a service never loads (36 MB of symbols for debuggers
# among it), and with bytecode of nothing but what it does load (all of it would be 57 MB).
FROM python:3.11-slim AS packages
# Where Debian's mirrors are out of reach the symbols stay.
RUN (apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils) >/dev/null || true
COPY src/requirements.txt /tmp/requirements.txt
RUN python -m venv --without-pip /app/.venv \
 && pip --python /app/.venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-compile --only-binary :all: --requirement /tmp/requirements.txt \
 && cd /app/.venv/lib/python3.11/site-packages \
 && rm -rf pyarrow/include pyarrow/includes pyarrow/src pyarrow/tests pyarrow/libarrow_flight* pyarrow/_flight* \
    pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* numpy/f2py numpy/distutils numpy/_core/include \
 && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && find . -type f \( -name "*.pyi" -o -name "*.pyx" -o -name "*.pxd" -o -name "*.c" -o -name "*.a" \) -delete \
 && if command -v strip; then find . -name "*.so*" -not -path "*.libs/*" -exec strip --strip-unneeded {} +; fi \
 && /app/.venv/bin/python -c "import _bentoml_impl.server.serving, _bentoml_impl.worker.service, bentoml_cli.cli, \
    circus.arbiter, faiss, fastapi.openapi.docs, hiredis, httptools, httpx, msgspec, \
    opentelemetry.instrumentation.asgi, prometheus_client.multiprocess, pyarrow.parquet, redis.asyncio, \
    starlette.staticfiles, uvicorn.lifespan.on, uvicorn.loops.auto, uvicorn.protocols.http.httptools_impl, uvloop, yaml"

FROM python:3.11-slim
RUN groupadd --gid 1034 bentoml && useradd --uid 1034 --gid 1034 --create-home bentoml
COPY --from=packages /app/.venv /app/.venv
# The root may be read-only: what BentoML writes at its start goes below /tmp.
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VIRTUAL_ENV=/app/.venv PATH=/app/.venv/bin:$PATH \
    BENTO_PATH=/home/bentoml/bento BENTOML_HOME=/tmp/bentoml BENTOML_CONTAINERIZED=true BENTOML_DO_NOT_TRACK=True \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKDIR /home/bentoml/bento
COPY . ./
RUN chmod 0755 env/docker/entrypoint.sh && python -m compileall -q src
USER 1034:1034
EXPOSE 3000
ENTRYPOINT ["/home/bentoml/bento/env/docker/entrypoint.sh"]
# Idle connections are kept longer than those who pool them do (bentos/serve_cli.py).
CMD ["serve", "--timeout-keep-alive", "75"]
