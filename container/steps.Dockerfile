# The image that the pipeline's Processing steps run in: Python, boto3 and what `python -m steps.NAME` imports.
#
#   docker build -f container/steps.Dockerfile -t release-steps:0.1.0 .
#
# Jobs start it with their own entry point: `python -m steps.NAME ARGUMENTS`.
FROM python:3.11.15-slim-trixie@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff

LABEL org.opencontainers.image.title="sglang-sagemaker-delivery steps" \
      org.opencontainers.image.description="What the release pipeline's steps run in" \
      org.opencontainers.image.licenses="MIT-0"

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/release

# Dependencies first: they change seldom, and this layer is then the same from build to build. Compiled once here, so
# that a job does not compile them at every start.
COPY requirements/steps.txt requirements/steps.txt
RUN pip install --no-cache-dir --require-hashes --compile -r requirements/steps.txt

COPY LICENSE LICENSE
COPY config/ config/
COPY container/__init__.py container/errors.py container/flags.py container/sglang_flags.json container/
COPY delivery/ delivery/
COPY loadtest/ loadtest/
COPY steps/ steps/
RUN python -m compileall -q config container delivery loadtest steps

# It stays root: SageMaker mounts /opt/ml/processing/output for root, and a job of another user cannot write its results
# there (aws/sagemaker-python-sdk issue 4764). A job has no more than its role lets it have either way.
CMD ["python", "-m", "steps.fetch_weights", "--help"]
