"""What the shipped codec loses: ``python benchmarks/codec.py`` writes benchmarks/results/codec.json.

Two kinds of held-out clips, 96 x 96 pixels: *random* ones in which everything moves at once, as in recipes/codec.yaml,
and *performed* ones with free and with mild head motion. PSNR and SSIM of the round trip; and on performed clips that
speak, the mouth's aperture read from pixels against the truth: over all frames, over means of groups of four frames,
and inside the groups, with the share of the true range that is left there. 95 % intervals over identities.
"""

import argparse
import json
from pathlib import Path

import torch
from performance import machine
from torchmetrics.functional.image import structural_similarity_index_measure

from lpm.codec import tiny_codec
from lpm.data.puppets import read
from lpm.data.puppets.plan import CorpusSpec
from lpm.metric import estimate
from lpm.metric.clips import identity_code
from lpm.train import PuppetClips, PuppetData
from lpm.train.frames import to_pixels, to_uint8


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return Pearson's correlation, NaN where one does not move."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def round_trip(codec: torch.nn.Module, video_TCHW: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
    """Return the video after the codec, with noise on the latents after the first frame's, which is never generated."""
    latents = codec.encode(video_TCHW[None])
    latents[:, 1:] += noise * torch.randn(latents[:, 1:].shape)
    return codec.decode(latents)[0].clamp(-1, 1)


def picture(codec: torch.nn.Module, video_TCHW: torch.Tensor) -> dict[str, float]:
    """Return PSNR in dB of the clip, of its first frame and with noise on the latents, and SSIM."""
    back, noisy = round_trip(codec, video_TCHW), round_trip(codec, video_TCHW, noise=0.3)

    def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(10 * torch.log10(4 / (a - b).square().mean()))

    return {
        "psnr": psnr(back, video_TCHW),
        "psnr_first": psnr(back[0], video_TCHW[0]),
        "psnr_noisy": psnr(noisy, video_TCHW),
        "ssim": float(structural_similarity_index_measure(back, video_TCHW, data_range=(-1.0, 1.0))),
    }


def lips(codec: torch.nn.Module, video_TCHW: torch.Tensor, truth_T: torch.Tensor) -> dict[str, float]:
    """Return how the mouth's aperture survives."""
    seen_T = torch.from_numpy(read(to_uint8(round_trip(codec, video_TCHW)[None])[0]).aperture)
    raw_T = torch.from_numpy(read(to_uint8(video_TCHW[None])[0]).aperture)
    seen, truth = (x[1:].unflatten(0, (-1, 4)) for x in (seen_T, truth_T))
    seen_inside, truth_inside = (x - x.mean(1, keepdim=True) for x in (seen, truth))
    return {
        "aperture_raw": correlation(raw_T, truth_T),
        "aperture": correlation(seen_T, truth_T),
        "aperture_of_groups": correlation(seen.mean(1), truth.mean(1)),
        "aperture_inside_groups": correlation(seen_inside, truth_inside),
        "range_inside_groups": float(seen_inside.std() / truth_inside.std()),
    }


def summary(rows: list[dict[str, float]], identities: list[int], seed: int) -> dict[str, dict[str, float]]:
    """Return value, interval and count of every score."""
    result = {}
    for name in rows[0]:
        found = estimate(torch.tensor([row[name] for row in rows]), torch.tensor(identities), seed=seed)
        result[name] = {
            "value": float(found.value),
            "low": float(found.low),
            "high": float(found.high),
            "n": int(found.n),
        }
    return result


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, help="weights; the shipped ones if not given")
    parser.add_argument("--clips", type=int, default=64, help="random clips, one per identity")
    parser.add_argument("--identities", type=int, default=24, help="characters of the performed clips, two clips each")
    parser.add_argument("--seed", type=int, default=1000, help="of the performed clips; training uses small seeds")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/codec.json"))
    args = parser.parse_args()
    torch.manual_seed(0)
    codec = tiny_codec(args.codec)
    data = PuppetClips(heldout=args.clips)
    rows = [picture(codec, to_pixels(data.heldout_clip(index))) for index in range(args.clips)]
    report = {"random": summary(rows, list(range(args.clips)), args.seed)}
    for name, motion in (("free", 1.0), ("mild", 0.25)):
        spec = CorpusSpec(
            identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, raw_videos=0, kinds={"speak": 1.0},
            val_identities=args.identities, val_clips_per_identity=2, motion=motion, seconds=4.1, seed=args.seed,
        )  # fmt: skip
        corpus = PuppetData(spec, frames=spec.frames, batch_size=1, pixels=True)
        corpus.prepare_data()
        rows, people = [], []
        for batch in corpus.val_dataloader():
            video, truth = batch.video_BTCHW[0], batch.truth["aperture"][0]
            rows.append(picture(codec, video) | lips(codec, video, truth))
            people.append(identity_code(batch.meta[0]["identity"]))
        report[name] = summary(rows, people, args.seed)
    for name, scores in report.items():
        print(name, {score: round(row["value"], 3) for score, row in scores.items()})
    command = {name: str(value) for name, value in vars(args).items()}
    args.output.write_text(json.dumps({"command": command, "machine": machine(), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
