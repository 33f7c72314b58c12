"""The law of a dense map that all networks without padding share."""

import torch


def assert_dense_map_is_the_scores_of_its_patches(network, channels, *, rows=4, columns=3):
    """Each place of the map is the logit of the patch that begins at stride_px times its indices; no more places."""
    side, step = network.input_px, network.stride_px
    image = torch.rand(2, channels, side + (rows - 1) * step + step - 1, side + (columns - 1) * step)
    with torch.no_grad():
        dense = network.dense(image)
        assert dense.shape == (2, rows, columns)
        for row in range(rows):
            for column in range(columns):
                top, left = row * step, column * step
                patch = image[:, :, top : top + side, left : left + side]
                torch.testing.assert_close(dense[:, row, column], network(patch), rtol=1e-4, atol=1e-4)
