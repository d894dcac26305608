"""The data module draws and encodes the corpus that nobody has drawn yet, once."""

import numpy as np

from lpm.data.puppets.plan import CorpusSpec, spec_hash
from lpm.train import PuppetData

SPEC = CorpusSpec(
    identities=1, val_identities=1, test_identities=1, clips_per_identity=2, val_clips_per_identity=1, seen_clips=1,
    seconds=1.1, size=32,
)  # fmt: skip


def test_prepare_data_builds_once_and_training_draws_from_it(codec, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    times = []
    for _ in range(2):
        data = PuppetData(SPEC, codec, frames=9, batch_size=2, history=0.3, lookahead=0.1, workers=1)
        data.prepare_data()
        made = (path for path in data.folder.rglob("*") if path.is_file() and path.name != ".lock")
        times.append({path.relative_to(tmp_path): path.stat().st_mtime_ns for path in made})
    assert times[0] == times[1]
    assert data.folder == tmp_path / "lpm" / f"puppets-{spec_hash(SPEC)}"
    assert (data.folder / "card.md").exists()
    for folder in (data.folder / "shards", data.encoded):
        assert sorted(path.name.split("-")[0] for path in folder.glob("*.tar")) == ["seen", "test", "train", "val"]
    batch = next(iter(data.train_dataloader()))
    assert batch.latents_BTCYX.shape[:2] == (2, 3) and np.ptp(batch.latents_BTCYX.numpy()) > 0
