"""What the processes of test_context_parallel.py do: a DiT's output and gradients, whole or shared."""

import torch
import torch.distributed as dist

from lpm.backbone import DiT, context_parallel, puppet, recomputed
from lpm.types import AudioFeatures, Conditions, References, TextFeatures

FPS = 24.0


def network(heads: int = 4) -> DiT:
    """A DiT of four blocks in float64 whose parameters are all off their starts."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = puppet(channels=4, width=32, depth=4, heads=heads, audio_width=8, text_width=8, summary=0).double()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def inputs(size=(6, 10), reference_size=(4, 6), references=2, frames=4):
    """Noisy latents, noise levels and conditions; in row 1 one reference and all streams are hidden."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    seen = torch.ones(2, references, dtype=torch.bool)
    seen[1, 1:] = False
    pictures = References(
        torch.arange(references).expand(2, -1) % 3,
        torch.zeros(2, references, dtype=torch.long),
        seen,
        latents_BRCYX=normal(2, references, 4, *reference_size),
    )
    conditions = Conditions(
        speak=AudioFeatures(normal(2, 100, 8), 50.0, -0.5),
        listen=AudioFeatures(normal(2, 60, 8), 12.5, -2.5),
        text=TextFeatures(normal(2, 3, 8), torch.tensor([[True, True, True], [True, False, False]])),
        references=pictures if references else None,
        keep={stream: torch.tensor([True, False]) for stream in ("text", "speak", "listen")},
    )
    t = torch.rand(2, frames, generator=generator, dtype=torch.float64)
    t[:, 0] = 0
    return normal(2, frames, 4, *size), t, conditions


def gradients(model: DiT, shape: dict) -> dict[str, torch.Tensor]:
    """The output and the gradient of every parameter and of the input, by name."""
    noisy, t, conditions = inputs(**shape)
    noisy.requires_grad_()
    output = model(noisy, t, conditions, FPS)
    (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
    found = {name.replace("._checkpoint_wrapped_module", ""): p.grad for name, p in model.named_parameters()}
    return {"output": output.detach(), "input": noisy.grad, **{k: v for k, v in found.items() if v is not None}}


def shared_gradients(shapes: list[dict], recompute: bool) -> list[dict[str, torch.Tensor]]:
    """As ``gradients``, of a network shared by all processes; gradients are averaged, as data parallelism does."""
    results = []
    for shape in shapes:
        model = context_parallel(network(), dist.group.WORLD)
        found = gradients(recomputed(model) if recompute else model, shape)
        for name, tensor in found.items():
            if name != "output":
                dist.all_reduce(tensor)
                tensor /= dist.get_world_size()
        results.append(found)
    return results
