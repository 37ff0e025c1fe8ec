import numpy as np

from spineseg.evaluation.pieces import connected_pieces


def test_voxels_that_share_a_face_and_a_label_are_one_piece():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, :2], labels[0, 0, 2], labels[1, 1, 0], labels[3, 3, 3] = 1, 2, 1, 1  # the third by an edge only
    pieces, count = connected_pieces(labels)
    assert count == 4 and pieces[0, 0, 0] == pieces[0, 0, 1] and (pieces > 0).sum() == 5
    assert len({pieces[0, 0, 0], pieces[0, 0, 2], pieces[1, 1, 0], pieces[3, 3, 3]}) == 4
