"""Which of several candidates is better: scores of a clip, and the pair that is worth learning from."""

from lpm.preference.candidate import Candidate, Scorer, described, score
from lpm.preference.pareto import Selection, advantage, select
from lpm.preference.puppets import PuppetScorer, head_energy, puppet_scores

__all__ = [
    "Candidate",
    "PuppetScorer",
    "Scorer",
    "Selection",
    "advantage",
    "described",
    "head_energy",
    "puppet_scores",
    "score",
    "select",
]
