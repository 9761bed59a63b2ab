// The Python face of the kernels that merge: it borrows buffers, checks every length and releases the interpreter.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string_view.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "element_buffers.hpp"
#include "merge.hpp"

namespace nb = nanobind;

namespace lamella {
namespace {

const Element* float_named(std::string_view dtype) {
    const Element* element = element_of(dtype);
    require(is_float(*element), "the dtype must be one of floats");
    return element;
}

// Numbers that begin with a line of the cache.
template <typename Number>
class Room {
   public:
    explicit Room(std::size_t count) : numbers_(static_cast<Number*>(::operator new(count * sizeof(Number), kLine))) {}
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    ~Room() { ::operator delete(numbers_, kLine); }
    Number* get() const { return numbers_; }

   private:
    static constexpr std::align_val_t kLine{64};
    Number* numbers_;
};

// The runs that a sequence of buffers lends, all of one dtype of floats.
class BorrowedSides {
   public:
    BorrowedSides(nb::handle sides, const Element* element, std::size_t count) : element_(element), count_(count) {
        require(PySequence_Check(sides.ptr()), "the sides must be a sequence");
        const nb::object held = nb::steal(PySequence_Tuple(sides.ptr()));
        if (!held.is_valid()) nb::raise_python_error();
        for (const nb::handle side : nb::borrow<nb::tuple>(held)) add(side);
        require(!runs_.empty(), "there must be a side");
    }
    BorrowedSides(nb::handle side, const Element* element, std::size_t count, std::nullptr_t)
        : element_(element), count_(count) {
        add(side);
    }

    Sides sides() const { return {runs_, element_, count_}; }
    std::size_t size() const { return runs_.size(); }
    std::size_t nbytes() const { return runs_.size() * runs_.front().size(); }

   private:
    void add(nb::handle side) {
        lent_.emplace_back(side, "a side");
        runs_.push_back(run_of(lent_.back(), element_, count_).data);
    }

    const Element* element_;
    std::size_t count_;
    std::deque<Borrowed> lent_;
    std::vector<Bytes> runs_;
};

// The base, where there is one.
class BorrowedBase {
   public:
    BorrowedBase(nb::handle base, const Element* element, std::size_t count) {
        if (base.is_none()) return;
        lent_.emplace(base, "the base");
        run_ = run_of(*lent_, element, count).data;
    }
    const std::optional<Bytes>& run() const { return run_; }

   private:
    std::optional<Borrowed> lent_;
    std::optional<Bytes> run_;
};

MutableBytes room_of(const Borrowed& out, const Element* element, std::size_t count) {
    require(out.size() == nbytes_of(*element, count), "out must be `count` writable elements");
    return out.mutable_bytes();
}

std::vector<double> doubles_of(nb::handle given, std::size_t count, const char* otherwise) {
    require(PySequence_Check(given.ptr()), otherwise);
    const nb::object held = nb::steal(PySequence_Tuple(given.ptr()));
    if (!held.is_valid()) nb::raise_python_error();
    std::vector<double> found;
    for (const nb::handle number : nb::borrow<nb::tuple>(held)) found.push_back(nb::cast<double>(number));
    require(found.size() == count, otherwise);
    return found;
}

std::vector<double> weights_of(nb::handle given, std::size_t count) {
    std::vector<double> found = doubles_of(given, count, "there must be a weight for each side");
    for (const double weight : found) require(std::isfinite(weight), "weights must be finite");
    return found;
}

std::vector<float> thresholds_of(nb::handle given, std::size_t count) {
    std::vector<float> found;
    for (const double threshold : doubles_of(given, count, "there must be a threshold for each side")) {
        found.push_back(static_cast<float>(threshold));
        require(found.back() >= 0, "thresholds must not be negative");
    }
    return found;
}

template <typename Number>
nb::tuple tuple_of(const std::vector<Number>& numbers) {
    nb::list found;
    for (const Number number : numbers) found.append(number);
    return nb::tuple(found);
}

void encode(nb::handle doubles, std::string_view dtype, std::size_t count, nb::handle out) {
    const Element* element = float_named(dtype);
    const Borrowed lent(doubles, "the doubles");
    require(lent.size() % sizeof(double) == 0 && lent.size() / sizeof(double) == count, "the doubles must be `count`");
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    const MutableBytes room = room_of(to, element, count);
    released(lent.size(), [&] { merge_choice.passes().encode(lent.bytes(), *element, count, room); });
}

std::uint64_t weighted_sum(nb::handle sides, nb::handle weights, std::string_view dtype, std::size_t count,
                           nb::handle out, bool keep_equal) {
    const Element* element = float_named(dtype);
    const BorrowedSides lent(sides, element, count);
    const std::vector<double> factors = weights_of(weights, lent.size());
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    const MutableBytes room = room_of(to, element, count);
    std::uint64_t found = 0;
    released(lent.nbytes(),
             [&] { found = merge_choice.passes().weighted_sum(lent.sides(), factors, keep_equal, room); });
    return found;
}

std::uint64_t ordered_mean(nb::handle sides, std::int64_t dropped, std::string_view dtype, std::size_t count,
                           nb::handle out) {
    const Element* element = float_named(dtype);
    const BorrowedSides lent(sides, element, count);
    const auto most = static_cast<std::int64_t>(lent.size() - 1) / 2;
    require(0 <= dropped && dropped <= most, "a value must be left of those that are ordered");
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    const MutableBytes room = room_of(to, element, count);
    const Room<std::int64_t> rows(lent.size() * kOrderTile);
    std::uint64_t found = 0;
    released(lent.nbytes(),
             [&] { found = merge_choice.passes().ordered_mean(lent.sides(), static_cast<std::size_t>(dropped), rows.get(), room); });
    return found;
}

nb::tuple elect(nb::handle base, nb::handle sides, nb::handle weights, nb::handle thresholds, double scale,
                bool normalize, std::string_view dtype, std::size_t count, nb::handle out) {
    const Element* element = float_named(dtype);
    const Borrowed held(base, "the base");
    const Bytes from = run_of(held, element, count).data;
    const BorrowedSides lent(sides, element, count);
    require(lent.size() <= kSides, "there must be at most 64 sides");
    const std::vector<double> factors = weights_of(weights, lent.size());
    const std::vector<float> limits = thresholds_of(thresholds, lent.size());
    require(std::isfinite(scale), "the scale must be finite");
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    const MutableBytes room = room_of(to, element, count);
    std::vector<std::uint64_t> moved(lent.size());
    std::vector<double> gram(lent.size() * lent.size());
    Elected found{.moved = moved, .gram = gram};
    const Room<double> tiles((lent.size() + 1) * kMoveRoom);
    released(lent.nbytes(), [&] {
        merge_choice.passes().elect({from, lent.sides(), factors, limits, scale, normalize}, tiles.get(), room, found);
    });
    return nb::make_tuple(tuple_of(moved), found.either, found.both, found.clashes, found.not_finite, tuple_of(gram));
}

nb::tuple gram(nb::handle base, nb::handle sides, std::string_view dtype, std::size_t count) {
    const Element* element = float_named(dtype);
    const BorrowedBase held(base, element, count);
    const BorrowedSides lent(sides, element, count);
    require(lent.size() <= kSides, "there must be at most 64 sides");
    std::vector<double> found(lent.size() * lent.size());
    const Room<double> tiles((lent.size() + 1) * kMoveRoom);
    released(lent.nbytes(), [&] { merge_choice.passes().gram(held.run(), lent.sides(), tiles.get(), found); });
    return tuple_of(found);
}

// Below so many elements it takes longer to add several counts up than neighbours wait for each other.
constexpr std::size_t kTurnsFrom = std::size_t{1} << 16;

void count_magnitudes(nb::handle base, nb::handle side, std::string_view dtype, std::size_t count,
                      std::optional<std::int64_t> prefix, nb::handle counts) {
    const Element* element = float_named(dtype);
    const BorrowedBase held(base, element, count);
    const BorrowedSides lent(side, element, count, nullptr);
    require(!prefix || (0 <= *prefix && *prefix < static_cast<std::int64_t>(kMagnitudeBins)), "the prefix must be 16 bits");
    const Borrowed to(counts, "the counts", PyBUF_WRITABLE);
    require(to.size() == kMagnitudeBins * sizeof(std::uint64_t), "the counts must be 65,536 writable numbers of 8 bytes");
    const std::span<std::uint64_t> bins = numbers_of<std::uint64_t>(to);
    std::vector<std::uint32_t> turns(!prefix && count >= kTurnsFrom ? kTurns * kTurnBins : 0);
    std::optional<std::uint32_t> upper;
    if (prefix) upper = static_cast<std::uint32_t>(*prefix);
    released(lent.nbytes(),
             [&] { merge_choice.passes().count_magnitudes(held.run(), lent.sides(), upper, turns, bins); });
}

}  // namespace

void bind_merge(nb::module_& module) {
    using namespace nb::literals;
    module.def("encode", &encode, "doubles"_a, "dtype"_a, "count"_a, "out"_a);
    module.def("weighted_sum", &weighted_sum, "sides"_a, "weights"_a, "dtype"_a, "count"_a, "out"_a, "keep_equal"_a);
    module.def("ordered_mean", &ordered_mean, "sides"_a, "dropped"_a, "dtype"_a, "count"_a, "out"_a);
    module.def("elect", &elect, "base"_a, "sides"_a, "weights"_a, "thresholds"_a, "scale"_a, "normalize"_a, "dtype"_a,
               "count"_a, "out"_a);
    module.def("gram", &gram, "base"_a.none(), "sides"_a, "dtype"_a, "count"_a);
    module.def("count_magnitudes", &count_magnitudes, "base"_a.none(), "side"_a, "dtype"_a, "count"_a,
               "prefix"_a.none(), "counts"_a);
}

}  // namespace lamella
