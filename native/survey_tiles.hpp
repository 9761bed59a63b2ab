// How one run is surveyed, read and counted, tile by tile. Internal to what includes it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "element_tiles.hpp"
#include "measure.hpp"

namespace lamella {
namespace {

// Count what is no finite number, take it out, and return how many values are left.
std::size_t keep_finite(double* values, std::size_t count, Surveyed& result) {
    if (all_finite(values, count)) return count;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const double value = values[i];
        if (is_finite(value)) {
            values[kept++] = value;
        } else {
            (value != value ? result.nan : result.infinite) += 1;
        }
    }
    return kept;
}

void add_extremes(const double* values, std::size_t padded, Surveyed& result) {
    for (std::size_t lane = 0; lane < kLanes; lane += kVectorLanes) {
        Vector least = Vector{} + result.minimum, most = Vector{} + result.maximum;
        for (std::size_t i = lane; i < padded; i += kLanes) {
            const Vector part = vector_at(values + i);
            least = part < least ? part : least;
            most = larger(part, most);
        }
        result.minimum = std::min(result.minimum, -largest_of(-least));
        result.maximum = std::max(result.maximum, largest_of(most));
    }
}

void add_values(const double* values, std::size_t padded, double normal, Surveyed& result) {
    Lanes total, squares;
    for (std::size_t lane = 0; lane < kLanes; lane += kVectorLanes) {
        Vector sums{}, of_squares{};
        Mask zeros{}, small{};
        for (std::size_t i = lane; i < padded; i += kLanes) {
            const Vector part = vector_at(values + i);
            sums += part;
            of_squares += part * part;
            zeros += part == 0;
            small += absolute(part) < normal;
        }
        total.put(lane, sums);
        squares.put(lane, of_squares);
        result.zeros += count_of(zeros);
        if (normal != 0) result.subnormal += count_of(small) - count_of(zeros);
    }
    result.total += total.sum();
    result.squares += squares.sum();
}

void survey_tiles(Run run, std::size_t count, Surveyed& result) noexcept {
    const Element& element = *run.element;
    const double normal = element.mantissa < 0 ? 0 : std::ldexp(1.0, element.exponent);
    alignas(64) Doubles values;
    bool is_first = true;
    for (std::size_t first = 0; first < count; first += kTile) {
        const std::size_t read = std::min(kTile, count - first);
        read_elements(element, run.data, first, read, values);
        const std::size_t left = keep_finite(values, read, result);
        if (left == 0) continue;
        if (is_first) result.minimum = result.maximum = values[0];
        is_first = false;
        // The last lanes are filled with what is no new extreme, and then with what adds nothing.
        const std::size_t padded = (left + kLanes - 1) / kLanes * kLanes;
        std::fill(values + left, values + padded, values[0]);
        add_extremes(values, padded, result);
        std::fill(values + left, values + padded, 0.0);
        add_values(values, padded, normal, result);
        result.zeros -= padded - left;
    }
    // Which of the zeros of both signs was found is left to chance.
    result.minimum += 0.0;
    result.maximum += 0.0;
}

void decode_tiles(Run run, std::size_t count, MutableBytes out) noexcept {
    alignas(64) Doubles values;
    for (std::size_t first = 0; first < count; first += kTile) {
        const std::size_t taken = std::min(kTile, count - first);
        read_elements(*run.element, run.data, first, taken, values);
        std::memcpy(out.data() + first * sizeof(double), values, taken * sizeof(double));
    }
}

void count_tiles(Run run, std::size_t count, std::span<std::uint64_t> counts) noexcept {
    alignas(64) Doubles values;
    for (std::size_t first = 0; first < count; first += kTile) {
        const std::size_t taken = std::min(kTile, count - first);
        read_elements(*run.element, run.data, first, taken, values);
        for (std::size_t i = 0; i < taken; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(values[i]));
            ++counts[values[i] != values[i] ? 0x7fc0U : bits >> 16];
        }
    }
}

}  // namespace
}  // namespace lamella
