"""Loss and gradients of one batch; on a GPU recorded once and replayed for each batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetmm.nets.blocks import NAFBlock

WARM_UP_BATCHES = 3
"""Batches before a recording, in which libraries choose their kernels and take their memory."""


def psnr_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of log mean squared error: PSNR up to scale and sign."""
    return ((output - target) ** 2).mean((1, 2, 3)).add(1e-8).log().mean()


class Gradients:
    """Called with a batch, it leaves the gradients in the net's parameters and gives the loss.

    Parameters
    ----------
    precision : "bf16": autocast with float32 weights and residuals; "fp32".
    """

    def __init__(self, net: nn.Module, precision: str) -> None:
        self.net, self.is_half = net, precision == "bf16"

    def __call__(self, noisy: Tensor, target: Tensor) -> Tensor:
        """(b, c, h, w) each, on the net's device -> the loss, a number without a graph."""
        self.net.zero_grad(set_to_none=True)
        return self._backward(noisy.contiguous(memory_format=torch.channels_last), target)

    def _backward(self, noisy: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=self.is_half):
            output = self.net(noisy)
        loss = psnr_loss(output.float(), target)
        loss.backward()
        return loss.detach()


class RecordedGradients(Gradients):
    """Gradients as one CUDA graph for each shape of batch: small nets wait for launches otherwise.

    Its numbers are those of `Gradients` but for the order of sums.

    compiled: whether the body's blocks are compiled first, which takes about a minute a shape;
    those that are fused kernels are not.
    """

    def __init__(self, net: nn.Module, precision: str, compiled: bool = False) -> None:
        super().__init__(net, precision)
        self.graph: torch.cuda.CUDAGraph | None = None
        if compiled:
            compile_blocks(net)

    def __call__(self, noisy: Tensor, target: Tensor) -> Tensor:
        if self.graph is None or self.noisy.shape != noisy.shape:
            self._record(noisy, target)
        assert self.graph is not None
        self.noisy.copy_(noisy, non_blocking=True)
        self.target.copy_(target, non_blocking=True)
        self.graph.replay()
        return self.loss.clone()

    def _record(self, noisy: Tensor, target: Tensor) -> None:
        self.graph = None  # its memory serves the next one
        self.noisy = noisy.contiguous(memory_format=torch.channels_last).clone()
        self.target = target.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_BATCHES):
                self.net.zero_grad(set_to_none=True)
                self._backward(self.noisy, self.target)
        torch.cuda.current_stream().wait_stream(aside)
        # Without gradients now, the recording makes them where every replay will write them.
        self.net.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = self._backward(self.noisy, self.target)
        self.graph = graph


def compile_blocks(net: nn.Module) -> None:
    """Let torch compile the NAFNet blocks; those of one shape share what is compiled. Blocks with a
    forward pass of their own are fused kernels already."""
    import torch._dynamo as dynamo

    dynamo.config.recompile_limit = 64  # one for each level and shape of batch
    for module in net.modules():
        if isinstance(module, NAFBlock) and "forward" not in vars(module):
            module.compile(dynamic=False)


def make_gradients(
    net: nn.Module,
    precision: str,
    device: torch.device,
    compiled: bool = False,
    fused: bool = True,
) -> Gradients:
    """Gradients in the way that suits the device; on a GPU with fused kernels where they work."""
    if device.type != "cuda":
        return Gradients(net, precision)
    if fused:
        fuse_where_possible(net, precision, device)
    return RecordedGradients(net, precision, compiled)


def fuse_where_possible(net: nn.Module, precision: str, device: torch.device) -> None:
    """Let fused kernels be the blocks of a net, where Triton is installed and they work."""
    from unetmm.engine.torch import cuda

    index = torch.cuda.current_device() if device.index is None else device.index
    fusing = cuda.fusing(index, "bf16" if precision == "bf16" else "fp32")
    if fusing is not None:
        from unetmm.train.fused import fuse_blocks

        fuse_blocks(net, precision, fusing, device)
