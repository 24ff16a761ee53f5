// Who reads what in a run: where spikes go, in which form, and when an activation is no longer read.
#pragma once

#include <deque>

#include "plan.hpp"

namespace firstspike {

// Of an activation. Tiles are bytes in the order of TileOrder (matrix_rows.hpp).
struct Form {
    bool times = true;                     // it is there as spike times, or as sums of a part
    bool tiles = false;                    // its step writes tiles
    const MatrixValues* values = nullptr;  // the bytes of tiles that its readers share, written or made by the first of them
    int border = 0;                        // columns of zeros on both sides of a map whose rows of tiles are positions
};

// Of a step: the activation that it writes. Steps on the way there do nothing: the pool is done in passing, others only rename.
struct Flow {
    int to, pool = -1;
};

struct Schedule {
    bool by_image;  // a row of a tile is an image of one pixel, else a position of one image
    std::vector<Flow> flows;   // by step
    std::vector<bool> passed;  // by step
    std::vector<Form> forms;   // by activation
    std::vector<std::vector<int>> done;  // by step: activations that nobody reads any more
    int64_t live_bytes;                  // of activations at once, of one image, at most
};

// By image: with as many as a tile has rows. Tiles: where nobody asks for the spike times of all layers.
Schedule make_schedule(const std::deque<Step>& steps, const Shape& input, bool by_image, bool tiles);

// Whether a step reads tiles that others may read too.
bool reads_tiles(const Step& step, bool by_image);

// Whether a matrix of strips takes its inputs from tiles, which it does not make itself.
bool strips_from_tiles(const Step& step, const Form& form);

// Whether the residual spikes of a step can be read from an activation's tiles.
bool adds_tiles(const Step& step, const Form& form, bool by_image);

}  // namespace firstspike
