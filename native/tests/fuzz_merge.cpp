// Random sides through the kernels that merge, for the sanitizers to watch: fuzz_merge SEED ROUNDS.
//
// Every buffer is a heap block of exactly its length, so that a byte read or written beside it is seen. All instruction
// sets have to say the same, to the last bit, and what one side moved, or all alike, has to come out as it went in.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "../merge.hpp"
#include "fuzzing.hpp"

namespace {

using namespace lamella;

constexpr const char* kNames[] = {"f16",     "bf16",    "f32",     "f64",     "c64",     "c128",        "f4_e2m1",
                                  "f6_e2m3", "f6_e3m2", "f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz"};

struct Aligned {
    void operator()(void* block) const { ::operator delete(block, std::align_val_t{64}); }
};

template <typename Number>
std::unique_ptr<Number, Aligned> room_for(std::size_t count) {
    return std::unique_ptr<Number, Aligned>(
        static_cast<Number*>(::operator new(count * sizeof(Number), std::align_val_t{64})));
}

class Fuzz : Fuzzer {
   public:
    explicit Fuzz(std::uint64_t seed) : Fuzzer(seed) {}

    void round() {
        element_ = element_named(kNames[below(std::size(kNames))]);
        count_ = below(3) == 0 ? below(20) : below(3000);
        const std::size_t sides = below(10) == 0 ? below(kSides) + 1 : below(5) + 1;
        const std::size_t nbytes = nbytes_of(*element_, count_);
        blocks_.push_back(noise(nbytes));
        for (std::size_t side = 0; side < sides; ++side)
            blocks_.push_back(side != 0 && below(4) == 0 ? noise(nbytes) : altered());
        for (const Exact& block : blocks_) runs_.emplace_back(block.view());
        for (std::size_t side = 0; side < sides; ++side) {
            constexpr double kWeights[] = {1, 0.5, 0.3, 0, -1, 1e-300};
            constexpr float kThresholds[] = {0, 0, 1e-3F, 0.1F, 1e38F};
            weights_.push_back(kWeights[below(std::size(kWeights))]);
            thresholds_.push_back(kThresholds[below(std::size(kThresholds))]);
        }
        compare();
        keep_what_one_side_moved();
    }

   private:
    // The base, with a few other bytes.
    Exact altered() {
        Exact made(blocks_.front().view(), below(9));
        for (std::uint64_t left = below(40); left != 0 && !made.view().empty(); --left)
            made.view()[below(made.view().size())] ^= static_cast<std::uint8_t>(1U << below(8));
        return made;
    }

    Sides sides() const { return {std::span(runs_).subspan(1), element_, count_}; }

    void compare() {
        const bool keeps = below(2) == 0, has_base = below(2) == 0, normalizes = below(2) == 0, takes_turns = below(2) == 0;
        const std::size_t dropped = below((sides().data.size() + 1) / 2);
        const double scale = below(2) == 0 ? 1.0 : 0.5;
        const std::optional<Bytes> base = has_base ? std::optional(runs_[0]) : std::nullopt;
        std::optional<std::uint32_t> prefix;
        if (below(2) == 0) prefix = below(2) == 0 ? 0 : 0x3f80;
        const Exact doubles(count_ * sizeof(double), below(9));
        for (std::uint8_t& byte : doubles.view()) byte = static_cast<std::uint8_t>(random_());
        std::vector<std::uint8_t> first;
        for (const std::string_view name : merge_choice.names()) {
            merge_choice.use(name);
            const MergePasses& passes = merge_choice.passes();
            std::vector<std::uint8_t> said;
            const auto say = [&said](const void* from, std::size_t nbytes) {
                const auto* bytes = static_cast<const std::uint8_t*>(from);
                said.insert(said.end(), bytes, bytes + nbytes);
            };
            const Exact out(runs_[0].size(), below(9));
            const auto say_result = [&](std::uint64_t not_finite) {
                require(not_finite <= count_, "more is not finite than there is");
                say(&not_finite, sizeof not_finite);
                say(out.view().data(), out.view().size());
            };
            passes.encode(doubles.view(), *element_, count_, out.view());
            say_result(0);
            say_result(passes.weighted_sum(sides(), weights_, keeps, out.view()));
            const auto rows = room_for<std::int64_t>(sides().data.size() * kOrderTile);
            say_result(passes.ordered_mean(sides(), dropped, rows.get(), out.view()));
            std::vector<std::uint64_t> moved(sides().data.size()), bins(kMagnitudeBins);
            std::vector<double> gram(moved.size() * moved.size());
            const auto room = room_for<double>((moved.size() + 1) * kMoveRoom);
            Elected elected{.moved = moved, .gram = gram};
            passes.elect({runs_[0], sides(), weights_, thresholds_, scale, normalizes}, room.get(), out.view(), elected);
            say_result(elected.not_finite);
            check(elected);
            const std::uint64_t counts[] = {elected.either, elected.both, elected.clashes};
            say(counts, sizeof counts);
            say(moved.data(), moved.size() * sizeof(std::uint64_t));
            say_numbers(gram, say);
            std::ranges::fill(gram, 0.0);
            passes.gram(base, sides(), room.get(), gram);
            say_numbers(gram, say);
            std::vector<std::uint32_t> turns(takes_turns ? kTurns * kTurnBins : 0);
            passes.count_magnitudes(base, {sides().data.first(1), element_, count_}, prefix, turns, bins);
            say(bins.data(), bins.size() * sizeof(std::uint64_t));
            if (first.empty()) first = said;
            require(said == first, "instruction sets say different things");
        }
    }

    // Which of the NaNs a sum is means nothing.
    template <typename Say>
    static void say_numbers(const std::vector<double>& numbers, Say say) {
        for (const double number : numbers) {
            const double known = number != number ? 0.5 : number;
            say(&known, sizeof known);
        }
    }

    void check(const Elected& found) const {
        require(found.either <= count_ && found.both <= found.either && found.clashes <= found.both,
                "the counts of moves do not add up");
        require(found.not_finite <= found.either, "what nobody moved is not finite");
        std::uint64_t moved = 0;
        for (const std::uint64_t one : found.moved) moved += one;
        require(found.either <= moved && found.either + found.both <= moved, "moves are missing");
    }

    void keep_what_one_side_moved() {
        if (element_->bits < 8) return;
        const Bytes base = runs_[0], other = runs_[1];
        const std::vector<Bytes> three{base, other, base};
        const std::vector<double> weights{0.7, 0.3, 5.0};
        const std::vector<float> thresholds(3);
        std::vector<std::uint64_t> moved(3);
        std::vector<double> gram(9);
        Elected found{.moved = moved, .gram = gram};
        const auto room = room_for<double>(4 * kMoveRoom);
        const Exact out(base.size(), below(9));
        merge_choice.passes().elect({base, {three, element_, count_}, weights, thresholds, 1.0, true}, room.get(), out.view(), found);
        require(std::ranges::equal(out.view(), other), "what one side moved is not what it made of it");
        const std::vector<Bytes> alike{other, other};
        merge_choice.passes().weighted_sum({alike, element_, count_}, {weights.data(), 2}, true, out.view());
        require(std::ranges::equal(out.view(), other), "what is alike on all sides was not kept");
    }

    const Element* element_ = nullptr;
    std::size_t count_ = 0;
    std::vector<Exact> blocks_;
    std::vector<Bytes> runs_;
    std::vector<double> weights_;
    std::vector<float> thresholds_;
};

}  // namespace

int main(int count, char** arguments) {
    return fuzz_rounds<Fuzz>("fuzz_merge", count, arguments);
}
