"""Whether an environment file names things as AWS has them.

Sources: Regions and partitions, inference AMI versions and processing instance types: botocore's own (`config/aws_facts.json`, which
`python -m config` writes and a test compares). Buckets: S3 user guide, "General purpose bucket naming rules". ARNs: IAM user guide, "IAM
identifiers"; KMS developer guide, "Key identifiers". Images: SageMaker API reference, `ContainerDefinition` ("must be in the same region as
the model or endpoint you are creating"). Secrets: Secrets Manager API reference, `CreateSecret`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from config.aws_facts import facts
from config.environment import Environment
from config.errors import Location
from config.reading.suggest import did_you_mean
from config.rules.finding import Finding

_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<account>\d*):(?P<rest>.+)")
_ROLE = re.compile(r"role/[\w+=,.@/-]{1,512}")
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn|\.eu)?/[a-z0-9][a-z0-9._/-]*"
    r"(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_TOKEN = re.compile(r"^(hf|api_org)_\w{16,}")
_KEY_ID = re.compile(r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}|alias/[\w/-]+)")
_FORBIDDEN_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_FORBIDDEN_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def findings(environment: Environment) -> list[Finding]:
    """Return what is wrong with an environment file, or worth a thought."""
    found = [*_bucket(environment.bucket), *_secret(environment.hub_token_secret)]
    if wrong_region := list(_region(environment)):
        return [*wrong_region, *found]  # what else is compared with the Region would be wrong once more
    found += _roles(environment)
    found += _images(environment)
    found += _key(("kms_key",), environment.kms_key, environment.region, environment.account_id)
    found += _network((), environment.subnets, environment.security_groups)
    found += _types(environment)
    if (there := environment.production) is not None:
        found += _key(("production", "kms_key"), there.kms_key, environment.region, there.account_id)
        found += _network(("production",), there.subnets, there.security_groups)
    return found


def partition_of(region: str) -> str | None:
    """Return the partition (aws, aws-cn, …) of a Region; None for none that SageMaker is in."""
    return facts().regions.get(region)


def bucket_problem(name: str) -> str:
    """Return why no bucket is called so, and what was expected; empty when one may be."""
    if name.startswith(("s3://", "arn:", "http")):
        inside = name.removeprefix("s3://").split("/")[0] if name.startswith("s3://") else name.rpartition(":")[2].split("/")[0]
        return f"the name alone is expected: {inside}" if inside else "the name alone is expected"
    rules = (
        (not 3 <= len(name) <= 63, f"a bucket's name has 3 to 63 characters, this has {len(name)}"),
        ("/" in name, f"the bucket's name alone is expected, without a folder: {name.split('/')[0]}"),
        (name != name.lower(), f"a bucket's name has no capital letters; is it {name.lower()}?"),
        ("_" in name, f"a bucket's name has no underscores; is it {name.replace('_', '-')}?"),
        (re.search(r"[^a-z0-9.-]", name) is not None, "a bucket's name has lower-case letters, digits, dots and dashes only"),
        (not (name[:1].isalnum() and name[-1:].isalnum()), "a bucket's name begins and ends with a letter or digit"),
        (".." in name, "a bucket's name has no two dots in a row"),
        (re.fullmatch(r"\d+(\.\d+){3}", name) is not None, "a bucket's name is no IP address"),
        (name.startswith(_FORBIDDEN_STARTS), f"AWS keeps names that begin with {', '.join(_FORBIDDEN_STARTS)}; choose another"),
        (name.endswith(_FORBIDDEN_ENDS), f"AWS keeps names that end with {', '.join(_FORBIDDEN_ENDS)}; choose another"),
    )
    return next((words for applies, words in rules if applies), "")


def image_problem(image: str, region: str) -> str:
    """Return why SageMaker cannot run that image in that Region, and what to do; empty when it can."""
    if image.startswith(("http://", "https://")):
        return f"an image's address has no scheme; write {image.split('://', 1)[1]}"
    match = _IMAGE.fullmatch(image)
    if match is None:
        return (
            "SageMaker takes images from Amazon ECR, as in 111122223333.dkr.ecr.us-west-2.amazonaws.com/NAME:TAG; push it there and write "
            "that address"
        )
    if match["region"] != region:
        return f"the image is in {match['region']}, and an endpoint takes its image from its own Region, {region}; push it there"
    return ""


def _region(environment: Environment) -> Iterator[Finding]:
    region, regions = environment.region, facts().regions
    if region in regions:
        return
    plain = region.strip().lower().replace("_", "-")
    if re.fullmatch(r"[a-z-]+-\d[a-z]", plain) and plain[:-1] in regions:
        words = f"is an availability zone; its Region is {plain[:-1]}"
    elif plain in regions:
        words = f"is not how AWS writes it; write {plain}"
    else:
        dashed = re.sub(r"-?(\d)$", r"-\1", plain)
        meant = f"did you mean {dashed!r}? " if dashed in regions else did_you_mean(plain, regions)
        words = f"is no Region that SageMaker is in; {meant}All of them: config/aws_facts.json"
    yield Finding(("region",), f"{region!r} {words}", "no-such-region")


def _bucket(name: str) -> Iterator[Finding]:
    if problem := bucket_problem(name):
        yield Finding(("bucket",), f"{name!r} will not do: {problem}", "bucket-name")


def _secret(name: str | None) -> Iterator[Finding]:
    if name is None:
        return
    location = ("hub_token_secret",)
    if _TOKEN.match(name):
        yield Finding(
            location,
            "this is a Hugging Face token, and belongs into no file: revoke it on huggingface.co (Settings, Access Tokens), store a new one "
            "in Secrets Manager (aws secretsmanager create-secret), and write the secret's name here",
            "token-in-file",
        )
    elif not name.startswith("arn:") and not re.fullmatch(r"[\w/+=.@-]{1,512}", name):
        yield Finding(location, f"{name!r} will not do: a secret's name has letters, digits and /_+=.@- only", "secret-name")


def _roles(environment: Environment) -> Iterator[Finding]:
    partition = partition_of(environment.region)
    for duty, value in environment.roles.model_dump().items():
        if value is not None and (problem := _role_problem(value, environment.account_id, partition)):
            yield Finding(("roles", duty), f"{value!r} will not do: {problem}", "role-arn")
    there = environment.production
    for duty in ("role", "serve_role") if there is not None else ():
        value = getattr(there, duty)
        if problem := _role_problem(value, there.account_id if there else "", partition):
            yield Finding(("production", duty), f"{value!r} will not do: {problem}", "role-arn")


def _role_problem(value: str, account: str, partition: str | None) -> str:
    prefix = f"arn:{partition or 'aws'}:iam::{account}:"
    match = _ARN.fullmatch(value)
    if match is None:
        bare = value.rpartition("/")[2] if re.fullmatch(r"[\w+=,.@/-]+", value) else "NAME"
        return f"a role's ARN is expected, as in {prefix}role/{bare}"
    if match["service"] == "sts" and match["rest"].startswith("assumed-role/"):
        return f"that is a session of a role, not the role; write {prefix}role/{match['rest'].split('/')[1]}"
    if match["service"] != "iam" or not match["rest"].startswith("role/"):
        what = match["rest"].split("/")[0].split(":")[0] if match["service"] == "iam" else match["service"]
        return f"that is the ARN of {_article(what)}, and a role's is expected, as in {prefix}role/NAME"
    if not _ROLE.fullmatch(match["rest"]):
        return f"a role's name has letters, digits and +=,.@_- only, as in {prefix}role/NAME"
    if match["account"] != account:
        return f"the role is in account {match['account']}, and account_id is {account}; name a role of that account, or correct account_id"
    if partition is not None and match["partition"] != partition:
        return f"the role is in the partition {match['partition']}, and the Region in {partition}; write arn:{partition}:iam::…"
    return ""


def _article(word: str) -> str:
    return f"an {word}" if word[:1] in "aeio" else f"a {word}"


def _images(environment: Environment) -> Iterator[Finding]:
    for name, image in environment.images.model_dump().items():
        if problem := image_problem(image, environment.region):
            yield Finding(("images", name), f"{image!r} will not do: {problem}", "image-address")


def _key(location: Location, key: str | None, region: str, account: str) -> Iterator[Finding]:
    if key is None:
        return
    match = _ARN.fullmatch(key)
    problem = ""
    if match is None:
        problem = "" if _KEY_ID.fullmatch(key) else f"a key's ARN is expected, as in arn:aws:kms:{region}:{account}:key/ID"
    elif match["service"] != "kms":
        problem = f"that is the ARN of {_article(match['service'])}, and a KMS key's is expected"
    elif match["region"] != region:
        problem = f"the key is in {match['region']}, and what it encrypts is in {region}; name a key of that Region"
    if problem:
        yield Finding(location, f"{key!r} will not do: {problem}", "kms-key")


def _network(above: Location, subnets: list[str], groups: list[str]) -> Iterator[Finding]:
    for key, values, prefix in (("subnets", subnets, "subnet-"), ("security_groups", groups, "sg-")):
        for index, value in enumerate(values):
            if not re.fullmatch(rf"{prefix}[0-9a-f]{{8}}([0-9a-f]{{9}})?", value):
                expected = f"an id is expected: {prefix} and 8 or 17 hexadecimal digits, as in {prefix}0123456789abcdef0"
                yield Finding((*above, key, index), f"{value!r} will not do: {expected}", "network-id")


def _types(environment: Environment) -> Iterator[Finding]:
    known = facts().processing_instance_types
    for duty, value in environment.job_instance_types.model_dump().items():
        if value not in known:
            meant = did_you_mean(value if value.startswith("ml.") else f"ml.{value}", known)
            message = f"{value!r} is no instance type of SageMaker's jobs; {meant}All of them: config/aws_facts.json"
            yield Finding(("job_instance_types", duty), message, "no-such-instance-type")
    every = {*known, *facts().hosting_instance_types}
    for value in environment.instance_usd_per_hour:
        if value not in every:
            meant = did_you_mean(value, sorted(every))
            yield Finding(("instance_usd_per_hour", value), f"{value!r} is no instance type; {meant}", "no-such-instance-type")
    version = environment.inference_ami_version
    if version is not None and version not in facts().inference_ami_versions:
        message = f"{version!r} is no inference AMI; expected one of {', '.join(facts().inference_ami_versions)}"
        yield Finding(("inference_ami_version",), message, "no-such-ami")
