import pytest

from lpm.sample import plan_chunks


@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("history", [1, 2, 9])
@pytest.mark.parametrize("total", [2, 5, 6, 24])
def test_every_frame_becomes_final_once_and_only_when_nobody_may_change_it(total, history, overlap):
    made = final = 1
    for part in plan_chunks(total, 4, history, overlap):
        assert part.made == made
        assert part.keep == min(history, made - part.again - 1) and part.keep >= min(1, made - 1)
        assert part.made - part.again >= final, "a frame that was shown is made again"
        assert part.again == (0 if made == 1 else overlap)
        made += part.more
        final += part.ready
        assert final == made - part.held
    assert made == final == total


@pytest.mark.parametrize("overlap", [-1, 4])
def test_an_overlap_of_a_whole_chunk_is_refused(overlap):
    with pytest.raises(ValueError, match=f"overlap of {overlap} latent frames, chunks have 4; choose 0 to 3"):
        next(plan_chunks(9, 4, 2, overlap))


def test_no_history_is_refused():
    with pytest.raises(ValueError, match="history of 0"):
        next(plan_chunks(9, 4, 0))
