"""Features that shall become those of a teacher."""

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity


class FeatureDistance(nn.Module):
    """Squared distance of features over the teacher's variance, and one minus their cosine; 0 for equal features.

    Args:
        cosine: weight of the second part.
    """

    def __init__(self, cosine: float = 1.0) -> None:
        super().__init__()
        self.cosine = cosine

    def forward(self, student_BAD: Tensor, teacher_BAD: Tensor) -> Tensor:
        """Return the mean over tokens, a scalar; no gradient flows into the teacher.

        Raises:
            ValueError: the features differ in shape.
        """
        if student_BAD.shape != teacher_BAD.shape:
            raise ValueError(
                f"student features {tuple(student_BAD.shape)} and teacher features {tuple(teacher_BAD.shape)} differ; "
                "encode the same samples with both"
            )
        teacher = teacher_BAD.detach()
        spread = (teacher - teacher.mean(dim=1, keepdim=True)).square().mean().clamp_min(1e-8)
        apart = 1 - cosine_similarity(student_BAD, teacher, dim=-1).mean()
        return (student_BAD - teacher).square().mean() / spread + self.cosine * apart
