// Who reads what in a run: where spikes go, in which form, and when an activation is no longer read.
#pragma once

#include <deque>

#include "plan.hpp"

namespace firstspike {

// Of an activation. Tiles are bytes in the order of ImageTiles (matrix_rows.hpp).
struct Form {
    bool times = true;                     // it is there as spike times, or as sums of a part
    bool tiles = false;                    // its step writes tiles
    const MatrixValues* values = nullptr;  // the bytes of tiles that its readers share, written or made by the first of them
};

// Of a step: the activation that it writes. Steps on the way there do nothing: the pool is done in passing, others only rename.
struct Flow {
    int to, pool = -1;
};

struct Schedule {
    std::vector<Flow> flows;   // by step
    std::vector<bool> passed;  // by step
    std::vector<Form> forms;   // by activation
    std::vector<std::vector<int>> done;  // by step: activations that nobody reads any more
    int64_t live_bytes;                  // of activations at once, of one image, at most
};

// Tiles: with images enough for a row of a tile each, and where nobody asks for the spike times of all layers.
Schedule make_schedule(const std::deque<Step>& steps, const Shape& input, bool tiles);

// Whether a step reads tiles that others may read too.
bool reads_tiles(const Step& step);

// Whether the residual spikes of a step can be read from an activation's tiles.
bool adds_tiles(const Step& step, const Form& form);

}  // namespace firstspike
