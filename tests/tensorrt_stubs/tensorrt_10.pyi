# What mnv2_mm/builds/tensorrt_engine.py calls of TensorRT 10, and no more.
# Read from the published bindings tensorrt-cu12-bindings 10.16.1.11 (the
# signatures of the imported module) on 2026-11-21; and
# https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/api/tensorrt-8x-to-10x-python-api.html
from collections.abc import Buffer
from enum import IntEnum
from typing import ClassVar, TypeAlias

__version__: str  # '10.16.1.11'

# what is converted to tensorrt.Dims
Dims: TypeAlias = tuple[int, ...] | list[int]

class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1

class BuilderFlag(IntEnum):
    FP16 = 0
    INT8 = 1
    TF32 = 6
    OBEY_PRECISION_CONSTRAINTS = 9
    PREFER_PRECISION_CONSTRAINTS = 10

class MemoryPoolType(IntEnum):
    WORKSPACE = 0

class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2

class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8

def nptype(trt_type: DataType) -> type: ...

class Logger:
    WARNING: ClassVar[int]
    def __init__(self, min_severity: int = ...) -> None: ...

class IHostMemory: ...

class IOptimizationProfile:
    def set_shape(
        self, input: str, min: Dims, opt: Dims, max: Dims
    ) -> None: ...

class INetworkDefinition: ...

class IBuilderConfig:
    def set_memory_pool_limit(
        self, pool: MemoryPoolType, pool_size: int
    ) -> None: ...
    def clear_flag(self, flag: BuilderFlag) -> None: ...
    def add_optimization_profile(
        self, profile: IOptimizationProfile
    ) -> int: ...

class Builder:
    def __init__(self, logger: Logger) -> None: ...
    def create_network(self, flags: int = ...) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None: ...

class ParserError:
    def desc(self) -> str: ...

class OnnxParser:
    def __init__(
        self, network: INetworkDefinition, logger: Logger
    ) -> None: ...
    @property
    def num_errors(self) -> int: ...
    def parse_from_file(self, model: str) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...

class IExecutionContext:
    def set_input_shape(self, name: str, shape: Dims) -> bool: ...
    def get_tensor_shape(self, name: str) -> Dims: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...

class ICudaEngine:
    @property
    def num_io_tensors(self) -> int: ...
    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> TensorIOMode: ...
    def get_tensor_dtype(self, name: str) -> DataType: ...
    def get_tensor_profile_shape(
        self, name: str, profile_index: int
    ) -> list[Dims]: ...
    def create_execution_context(self) -> IExecutionContext: ...

class Runtime:
    def __init__(self, logger: Logger) -> None: ...
    def deserialize_cuda_engine(
        self, serialized_engine: Buffer
    ) -> ICudaEngine | None: ...
