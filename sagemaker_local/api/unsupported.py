"""What is refused by name: actions, and members of requests. ``docs/sagemaker_local.md`` is made from these tables.

An action that is neither in the table of actions nor in ``DELEGATED`` is refused, also where moto has it: moto answers as if a
notebook, a cluster or a tuning job ran, and nothing does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import NotImplementedHere

if TYPE_CHECKING:
    from collections.abc import Iterator

# Resources that are nothing but records, which moto keeps as SageMaker does.
_RECORDS = ("Experiment", "Trial", "TrialComponent", "ModelCard")
DELEGATED = frozenset(
    {f"{verb}{record}" for record in _RECORDS for verb in ("Create", "Describe", "Delete", "Update")}
    | {f"List{record}s" for record in _RECORDS}
    | {"AssociateTrialComponent", "DisassociateTrialComponent", "ListModelCardVersions"}
)
"""Actions that moto answers."""

_CONTAINER = ("Mode", "MultiModelConfig", "ContainerMetricsConfig")
_S3_SOURCE = ("HubAccessConfig", "ManifestS3Uri")

MEMBERS: dict[str, tuple[str, ...]] = {
    "CreateModel": (
        "InferenceExecutionConfig",
        *(f"{place}.{member}" for place in ("PrimaryContainer", "Containers[]") for member in _CONTAINER),
        *(
            f"{place}.{source}.S3DataSource.{member}"
            for place in ("PrimaryContainer", "Containers[]")
            for source in ("ModelDataSource", "AdditionalModelDataSources[]")
            for member in _S3_SOURCE
        ),
    ),
    "CreateEndpointConfig": (
        "AsyncInferenceConfig",
        "CrossRegionTrafficConfig",
        "ExplainerConfig",
        "MetricsConfig.EnableEnhancedMetrics",
        "ShadowProductionVariants",
        "ProductionVariants[].AcceleratorPartitionLayouts",
        "ProductionVariants[].AcceleratorType",
        "ProductionVariants[].CoreDumpConfig",
        "ProductionVariants[].InstancePools[].ModelNameOverride",
        "ProductionVariants[].ManagedInstanceScaling",
        "ProductionVariants[].ServerlessConfig",
    ),
    "CreateModelPackage": ("CertifyForMarketplace", "ValidationSpecification"),
    "CreatePipeline": ("PipelineVersionAliases",),
    "UpdatePipeline": ("PipelineVersionAliases",),
    "UpdatePipelineVersion": ("PipelineVersionAliasOperations",),
    "DescribePipeline": ("PipelineVersionAlias",),
    "ListPipelineExecutions": ("PipelineVersionAlias",),
    "StartPipelineExecution": ("PipelineVersionAlias", "MlflowExperimentName"),
    "CreateProcessingJob": ("ProcessingInputs[].S3Input.S3CompressionType",),
    "CreateTrainingJob": (
        "InputDataConfig[].RecordWrapperType",
        "InputDataConfig[].DataSource.S3DataSource.HubAccessConfig",
        "TensorBoardOutputConfig",
        "MlflowConfig",
        "ModelPackageConfig",
    ),
    "CreateTransformJob": ("DataCaptureConfig",),
}
"""Members of requests that would change what happens and do not here, but for the values that ask for nothing special."""

_HARMLESS = {"Mode": "SingleModel", "RecordWrapperType": "None", "S3CompressionType": "None"}


def check(action: str, request: dict[str, Any]) -> None:
    """Refuse a request that asks for something that is not emulated.

    Raises:
        NotImplementedHere: it does; the message names the member.
    """
    for path in MEMBERS.get(action, ()):
        for value in _values(request, path.split(".")):
            if value and value != _HARMLESS.get(path.rpartition(".")[2]):
                raise NotImplementedHere(f"{action}: {path.replace('[]', '')} is not emulated.")


def _values(value: Any, steps: list[str]) -> Iterator[Any]:
    """Yield every value at a path; ``[]`` after a name goes through a list."""
    if not steps:
        yield value
        return
    name, through_list = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    found = value.get(name) if isinstance(value, dict) else None
    for item in (found or []) if through_list else [found]:
        yield from _values(item, steps[1:])
