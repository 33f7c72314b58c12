"""A network written as an ONNX graph: bytes in, scores out. Knows the layers that networks here are made of.

Torch's own exporter takes 4 s for the first network of a process and 1 s for each that follows (measured), a hundred
times what it takes to read a small field; the layers below are written in milliseconds. A network with any other layer
goes through torch's exporter. onnx and torch's tracers are imported when a graph is written.
"""

import logging
import operator
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mitosieve.errors import InputError

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

OPSET = 18
"""ONNX operators of this version; ONNX Runtime reads it since 1.14."""


class ScoresOfBytes(nn.Module):
    """A network with its conversions: images (B, H, W, C) uint8 to scores 0..1.

    Args:
        network: maps (B, C, H, W) float in 0..1 to (B,) logits.
        dense: call the network's `dense` instead, which maps to (B, H', W') logits.
    """

    def __init__(self, network: nn.Module, *, dense: bool = False) -> None:
        super().__init__()
        self.network = network
        self.dense = dense

    def forward(self, images_BHWC: Tensor) -> Tensor:
        image = images_BHWC.permute(0, 3, 1, 2).float() / 255
        logit = self.network.dense(image) if self.dense else self.network(image)  # pyright: ignore[reportCallIssue] - a method that modules need not have
        return torch.sigmoid(logit.float())


def onnx_bytes(scorer: ScoresOfBytes, example: NDArray[np.uint8]) -> bytes:
    """The graph of a scorer in evaluation mode; number and size of images stay open where the network leaves them open.

    Args:
        scorer: network with its conversions.
        example: (B, H, W, C) images of a size that the network takes.

    Raises:
        InputError: a network that cannot be written as ONNX.
    """
    scorer.eval()
    written = _written(scorer)
    return _exported(scorer, example) if written is None else written


def onnx_without_weights(network: nn.Module, *, dense: bool = False) -> bytes | None:
    """The graph of a network's scores that holds no weights: its tensors are external, named as in `state_dict`.

    Returns:
        None of a network that cannot be written so: it makes its kernels of its weights (`live.Freezable`), or has a
        layer that is not in the table below.
    """
    if hasattr(network, "frozen"):
        return None
    return _written(ScoresOfBytes(network.eval(), dense=dense), dict(network.state_dict(keep_vars=True)))


class _Unwritable(Exception):  # noqa: N818 - no error: the other way is taken
    """A layer that the table below has not."""


def _written(scorer: nn.Module, external: dict[str, Tensor] | None = None) -> bytes | None:
    """The graph by the table of known layers, or None where a layer is not in it; some tensors by name alone."""
    from torch.fx import symbolic_trace
    from torch.fx.proxy import TraceError

    try:
        return _Writer(symbolic_trace(scorer), external or {}).model()
    except (_Unwritable, TraceError, TypeError):  # TypeError: what a traced value raises where a number is needed
        return None


def _exported(scorer: ScoresOfBytes, example: NDArray[np.uint8]) -> bytes:
    """The graph by torch's exporter."""
    from torch.export import Dim
    from torch.onnx import OnnxExporterError, export

    image = torch.from_numpy(example[:1].repeat(2, axis=0))  # a batch of one would be taken for a constant
    logger = logging.getLogger("torch.onnx")  # it warns of a torchvision that nothing here needs
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch's exporter about torch
            program = export(
                scorer,
                (image,),
                input_names=["images"],
                output_names=["scores"],
                dynamic_shapes=({0: Dim("images")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except OnnxExporterError as error:
        raise InputError(
            f"the network {type(scorer.network).__name__} cannot be written as ONNX", remedy="choose --engine torch"
        ) from error
    finally:
        logger.setLevel(level)
    assert program is not None
    return program.model_proto.SerializeToString()


class _Writer:
    """Walks a traced network once and notes an ONNX node for each of its operations."""

    def __init__(self, traced: "GraphModule", external: dict[str, Tensor]) -> None:
        self.traced = traced
        self.external = {id(value): name for name, value in external.items()}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> bytes:
        """The whole as bytes; input "images" is (B, H, W, C) uint8, output "scores" float32."""
        from onnx import TensorProto, helper

        names: dict[Node, str] = {}
        last = ""
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                names[node] = "images"
            elif node.op == "output":
                last = names[node.args[0]]
            else:
                names[node] = self._operation(node, names)
        self.nodes.append(helper.make_node("Identity", [last], ["scores"]))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", "C"])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return model.SerializeToString()

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - numbers and lists, as the operator has them
        """Note one ONNX node; returns the name of what it gives."""
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: object) -> str:
        """Note a number, a list or a tensor; returns its name."""
        from onnx import numpy_helper

        if isinstance(value, Tensor) and id(value) in self.external:
            return self._named(self.external[id(value)], value)
        array = value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def _named(self, name: str, value: Tensor) -> str:
        """Note a tensor whose values are given when the graph is loaded."""
        from onnx import StringStringEntryProto, TensorProto

        if all(constant.name != name for constant in self.constants):
            told = [StringStringEntryProto(key="location", value="weights")]
            kind, where = TensorProto.FLOAT, TensorProto.EXTERNAL
            self.constants.append(
                TensorProto(name=name, dims=value.shape, data_type=kind, data_location=where, external_data=told)
            )
        return name

    def operand(self, value: object) -> str:
        """The name of a traced value, or of a plain number as float32."""
        return value if isinstance(value, str) else self.constant(np.float32(value))  # pyright: ignore[reportArgumentType] - a number where it is no name

    def _operation(self, node: "Node", names: "dict[Node, str]") -> str:
        from torch.fx.node import map_arg

        args, kwargs = map_arg((node.args, node.kwargs), names.__getitem__)  # pyright: ignore[reportGeneralTypeIssues] - it gives back what it is given
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            write = _LAYERS.get(type(module))
            if write is not None:
                return write(self, module, *args, **kwargs)
        else:
            write = _FUNCTIONS.get(node.target)
            if write is not None and node.op in {"call_function", "call_method"}:
                return write(self, *args, **kwargs)
        raise _Unwritable(node)


def _conv(writer: _Writer, layer: nn.Conv2d, x: str) -> str:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise _Unwritable(layer)
    inputs = [x, writer.constant(layer.weight)] + ([] if layer.bias is None else [writer.constant(layer.bias)])
    return writer.add(
        "Conv",
        *inputs,
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        pads=[*layer.padding, *layer.padding],
        dilations=layer.dilation,
        group=layer.groups,
    )


def _batch_norm(writer: _Writer, layer: nn.BatchNorm2d, x: str) -> str:
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    if not (layer.affine and layer.track_running_stats):
        raise _Unwritable(layer)
    return writer.add("BatchNormalization", x, *map(writer.constant, tensors), epsilon=layer.eps)


def _max_pool(writer: _Writer, layer: nn.MaxPool2d, x: str) -> str:
    if layer.return_indices:
        raise _Unwritable(layer)
    padding = _pair(layer.padding)
    return writer.add(
        "MaxPool",
        x,
        kernel_shape=_pair(layer.kernel_size),
        strides=_pair(layer.stride),
        pads=[*padding, *padding],
        dilations=_pair(layer.dilation),
        ceil_mode=int(layer.ceil_mode),
    )


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _unflatten(writer: _Writer, layer: nn.Unflatten, x: str) -> str:
    """Channels as two axes; what follows them is taken from the image, whose size stays open."""
    sizes = layer.unflattened_size
    if layer.dim != 1 or not all(isinstance(size, int) for size in sizes):
        raise _Unwritable(layer)
    rest = writer.add("Shape", x, start=2)
    target = writer.add("Concat", writer.constant([0, *sizes]), rest, axis=0)  # 0 keeps the number of images
    return writer.add("Reshape", x, target)


def _linear(writer: _Writer, layer: nn.Linear, x: str) -> str:
    y = writer.add("MatMul", x, writer.add("Transpose", writer.constant(layer.weight), perm=[1, 0]))
    return writer.add("Add", y, writer.constant(layer.bias)) if isinstance(layer.bias, Tensor) else y


def _flatten(writer: _Writer, x: str, start_dim: int = 0, end_dim: int = -1) -> str:
    if end_dim != -1 or start_dim not in {0, 1}:
        raise _Unwritable("flatten")
    return writer.add("Flatten", x, axis=1) if start_dim else writer.add("Reshape", x, writer.constant([-1]))


def _binary(kind: str) -> Callable[..., str]:
    def write(writer: _Writer, a: object, b: object) -> str:
        return writer.add(kind, writer.operand(a), writer.operand(b))

    return write


def _unary(kind: str) -> Callable[..., str]:
    def write(writer: _Writer, x: str, **options: object) -> str:
        if options.pop("inplace", False):
            raise _Unwritable(kind)
        return writer.add(kind, x)

    return write


def _reduction(kind: str) -> Callable[..., str]:
    def write(writer: _Writer, x: str, dim: int | tuple[int, ...], keepdim: bool = False) -> str:
        axes = [dim] if isinstance(dim, int) else list(dim)
        return writer.add(kind, x, writer.constant(axes), keepdims=int(keepdim))

    return write


def _squeeze(writer: _Writer, x: str, dim: int) -> str:
    return writer.add("Squeeze", x, writer.constant([dim]))


def _cat(writer: _Writer, parts: list[str], dim: int = 0) -> str:
    return writer.add("Concat", *parts, axis=dim)


def _permute(writer: _Writer, x: str, *axes: int) -> str:
    return writer.add("Transpose", x, perm=axes)


def _float(writer: _Writer, x: str) -> str:
    from onnx import TensorProto

    return writer.add("Cast", x, to=TensorProto.FLOAT)


def _getitem(writer: _Writer, x: str, key: object) -> str:
    """Slices with a positive step and single indices, counted from the first axis."""
    keys = key if isinstance(key, tuple) else (key,)
    dropped: list[int] = []
    for axis, part in enumerate(keys):
        if isinstance(part, int):
            part = slice(part, part + 1 or None, 1)
            dropped.append(axis)
        if not isinstance(part, slice):
            raise _Unwritable("index")
        bounds = (part.start or 0, np.iinfo(np.int64).max if part.stop is None else part.stop, axis, part.step or 1)
        if not all(isinstance(bound, int) for bound in bounds):
            raise _Unwritable("index")
        if bounds != (0, np.iinfo(np.int64).max, axis, 1):
            x = writer.add("Slice", x, *(writer.constant([bound]) for bound in bounds))
    return writer.add("Squeeze", x, writer.constant(dropped)) if dropped else x


def _getattr(writer: _Writer, x: str, name: str) -> str:
    """A value's shape, which stays open."""
    if name != "shape":
        raise _Unwritable(name)
    return writer.add("Shape", x)


def _interpolate(
    writer: _Writer,
    x: str,
    size: object = None,
    *,
    mode: str = "nearest",
    align_corners: bool | None = None,
    **more: object,
) -> str:
    """Bilinear to a size, which may be another value's.

    Where corners are not aligned, both libraries repeat the border beyond the outermost centres.
    """
    if mode != "bilinear" or size is None or any(more.values()):
        raise _Unwritable("interpolate")
    rows_columns = size if isinstance(size, str) else writer.constant(np.array(size, dtype=np.int64))
    sizes = writer.add("Concat", writer.add("Shape", x, end=2), rows_columns, axis=0)
    where = "align_corners" if align_corners else "half_pixel"
    return writer.add("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode=where)


def _same(writer: _Writer, layer: object, x: str) -> str:
    return x


_LAYERS: dict[type[nn.Module], Callable[..., str]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.Unflatten: _unflatten,
    nn.Linear: _linear,
    nn.ReLU: lambda writer, layer, x: writer.add("Relu", x),
    nn.Flatten: lambda writer, layer, x: _flatten(writer, x, layer.start_dim, layer.end_dim),
    nn.Dropout: _same,
    nn.Identity: _same,
}
"""Modules, each written as evaluation mode has it."""

_FUNCTIONS: dict[object, Callable[..., str]] = {
    operator.add: _binary("Add"),
    operator.sub: _binary("Sub"),
    operator.mul: _binary("Mul"),
    operator.truediv: _binary("Div"),
    operator.getitem: _getitem,
    getattr: _getattr,
    torch.relu: _unary("Relu"),
    functional.relu: _unary("Relu"),
    functional.interpolate: _interpolate,
    torch.sigmoid: _unary("Sigmoid"),
    torch.cat: _cat,
    torch.flatten: _flatten,
    "flatten": _flatten,
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "squeeze": _squeeze,
    "permute": _permute,
    "float": _float,
}
"""Functions, and methods by name."""
