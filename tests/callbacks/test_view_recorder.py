import matplotlib.image
import torch
from tiny_run import TinyData, TinyModule, fit

from eztorch.callbacks import ViewRecorder


class Clips(TinyModule):
    """Two views of clips; the transform adds noise in place, as those of a run do."""

    def __init__(self):
        super().__init__()
        self.calls = []

    train_transform = property(lambda self: self._transform, lambda self, value: None)

    def _transform(self, views):
        self.calls.append((views[0].shape[0], torch.is_grad_enabled()))
        return [view.add_(torch.rand_like(view)) for view in views]

    def training_step(self, batch, batch_idx):
        views = self._transform(batch["input"])
        batch = {**batch, "input": views[0].flatten(1)[:, :8]}
        return super().training_step(batch, batch_idx)


def collate(samples):
    batch = torch.utils.data.default_collate(samples)
    views = [batch["input"][:, None, :, None, None].expand(-1, 3, 8, 12, 16).clone() for _ in range(2)]
    return {**batch, "input": views}


def run(path, callbacks, **options):
    options = {"max_epochs": 1, "limit_val_batches": 0, "data": TinyData(collate=collate), **options}
    torch.manual_seed(0)
    return fit(path, callbacks, module=Clips(), **options)


def test_view_recorder__draws_the_transformed_views_once(tmp_path):
    path = tmp_path / "run" / "views.png"
    done = run(tmp_path, [ViewRecorder(path, num_samples=2)], max_epochs=2)
    assert done.module.calls.count((2, False)) == 1
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 2 * 96
    assert picture.shape[1] > 2 * 8 * 128


def test_view_recorder__leaves_the_run_as_it_was(tmp_path):
    plain = run(tmp_path, [])
    recorded = run(tmp_path, [ViewRecorder(tmp_path / "views.png")])
    torch.testing.assert_close(recorded.module.state_dict(), plain.module.state_dict(), rtol=0, atol=0)


def test_view_recorder__takes_a_single_view_without_a_transform(tmp_path):
    def one_view(samples):
        batch = torch.utils.data.default_collate(samples)
        return {**batch, "input": batch["input"][:, None, :, None].expand(-1, 3, 8, 8).clone()}

    class Image(TinyModule):
        def training_step(self, batch, batch_idx):
            return super().training_step({**batch, "input": batch["input"][:, 0, :, 0]}, batch_idx)

    data = TinyData(collate=one_view)
    fit(tmp_path, [ViewRecorder(tmp_path / "views.png")], module=Image(), data=data, limit_val_batches=0, max_epochs=1)
    assert matplotlib.image.imread(tmp_path / "views.png").shape[0] > 4 * 96
