// Random chunks, tables and damaged payloads through the codecs with tables, for the sanitizers to watch: fuzz_codecs SEED ROUNDS.
//
// Every buffer is a heap block of exactly its length, so that a byte read or written beside it is seen. All instruction
// sets have to make the same payload, return the chunk, and pass the same verdict on whatever was done to a payload.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "../alone.hpp"
#include "../delta.hpp"
#include "../fit.hpp"
#include "../instructions.hpp"
#include "fuzzing.hpp"

namespace {

using namespace lamella;

constexpr std::size_t kDeltaTrailer = 266, kAloneTrailer = 260;
constexpr int kDamages = 24;

// Encodes into a buffer and returns the length that is needed; decodes into one and says whether the payload is sound.
using Encode = std::function<std::size_t(MutableBytes)>;
using Decode = std::function<bool(Bytes, MutableBytes)>;

class Fuzz : Fuzzer {
   public:
    explicit Fuzz(std::uint64_t seed) : Fuzzer(seed) {}

    void round() {
        layout_ = static_cast<Layout>(below(6) + 1);
        item_nbytes_ = item_nbytes_of(layout_);
        const std::size_t nbytes = count() * item_nbytes_;
        const Exact base = items(nbytes), chunk = moved(base.view());
        if (below(4) == 0) {
            trailer_nbytes_ = kAloneTrailer;
            const Tables tables = table_of_bytes(chunk.view());
            compare([&](MutableBytes out) { return encode_alone(tables, item_nbytes_, chunk.view(), out); },
                    [&](Bytes payload, MutableBytes out) { return decode_alone(tables, item_nbytes_, payload, out); },
                    chunk.view());
        } else {
            trailer_nbytes_ = kDeltaTrailer;
            const auto growth = static_cast<std::int16_t>(below(4) == 0 ? random_() : 0);
            const DeltaModel model = tabled(growth, chunk.view(), base.view());
            compare([&](MutableBytes out) { return encode_delta(model, chunk.view(), base.view(), out); },
                    [&](Bytes payload, MutableBytes out) { return decode_delta(model, payload, base.view(), out); },
                    chunk.view());
        }
    }

   private:
    std::size_t count() {
        static constexpr std::size_t kEdges[] = {0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 513};
        return below(2) == 0 ? kEdges[below(std::size(kEdges))] : below(3000);
    }

    // Noise, or weights: items of few exponents.
    Exact items(std::size_t nbytes) {
        Exact made(nbytes, below(9));
        const bool is_noise = below(4) == 0;
        for (std::size_t i = 0; i < nbytes; ++i) {
            const bool is_highest = i % item_nbytes_ == item_nbytes_ - 1;
            made.view()[i] = static_cast<std::uint8_t>(is_highest && !is_noise ? 0x3C + below(2) : random_());
        }
        return made;
    }

    // The same items, other ones, or the same with differences of any size.
    Exact moved(Bytes base) {
        Exact made(base, below(9));
        const std::uint64_t kind = below(8);
        if (kind == 0) return made;
        if (kind == 1) return items(base.size());
        const std::uint64_t bits = below(8 * item_nbytes_) + 1, often = below(3) == 0 ? 1 : below(40) + 1;
        for (std::size_t at = 0; at < base.size(); at += item_nbytes_) {
            if (below(often) != 0) continue;
            std::uint64_t item = 0;
            std::memcpy(&item, made.view().data() + at, item_nbytes_);
            item += (random_() >> (64 - bits)) - (std::uint64_t{1} << (bits - 1));
            std::memcpy(made.view().data() + at, &item, item_nbytes_);
        }
        return made;
    }

    // Tables fitted to the pair, to another, or to nothing.
    DeltaModel tabled(std::int16_t growth, Bytes chunk, Bytes base) {
        if (below(4) == 0) return random_tables(growth);
        Counts counts{};
        if (below(3) == 0) {
            const Exact other = moved(base);
            count_delta(layout_, growth, other.view(), base, counts);
        } else {
            count_delta(layout_, growth, chunk, base, counts);
        }
        Fitted fitted = fit_contexts(counts);
        const std::int16_t fitted_growth = below(2) == 0 ? fit_growth(layout_, chunk, base) : growth;
        return make_delta_model(layout_, fitted_growth, std::move(fitted.bounds), fitted.stays, fitted.frequencies);
    }

    // A table fitted to the highest bytes of the chunk, of a part of it, or of nothing.
    Tables table_of_bytes(Bytes chunk) {
        ByteCounts counts{};
        const std::size_t items = below(3) == 0 ? below(chunk.size() / item_nbytes_ + 1) : chunk.size() / item_nbytes_;
        count_alone(item_nbytes_, chunk.first(items * item_nbytes_), counts);
        return Tables(fit_alone(counts));
    }

    DeltaModel random_tables(std::int16_t growth) {
        std::vector<std::uint8_t> bounds;
        for (std::uint8_t bound = 1; bound < kClasses; ++bound)
            if (below(4) == 0) bounds.push_back(bound);
        std::array<std::uint16_t, kClasses> stays;
        for (std::uint16_t& share : stays) {
            const std::uint64_t any = below(kFlagTotal - 1) + 1;
            share = static_cast<std::uint16_t>(below(4) == 0 ? 1 : below(4) == 0 ? kFlagTotal - 1 : any);
        }
        std::vector<std::uint16_t> frequencies;
        for (std::size_t context = 0; context < bounds.size() + 2; ++context) {
            const bool is_steps = context == bounds.size() + 1;
            std::array<std::uint16_t, kSymbols> table{};
            std::uint32_t left = kProbabilityTotal;
            // One other symbol at least, so that no frequency is the whole.
            for (std::uint64_t wanted = below(200) + 1; wanted != 0; --wanted) {
                const std::uint64_t symbol = below(kEscape);
                if ((!is_steps && (symbol == 0 || symbol % 64 > 61)) || symbol == kNoStep || table[symbol] != 0) continue;
                const std::uint64_t taken = std::min<std::uint64_t>(below(left) + 1, below(300) + 1);
                if (taken >= left) break;
                table[symbol] = static_cast<std::uint16_t>(taken);
                left -= static_cast<std::uint32_t>(taken);
            }
            const std::uint32_t one = left == kProbabilityTotal ? 1 : 0;
            table[1] = static_cast<std::uint16_t>(table[1] + one);
            table[is_steps ? kNoStep : kEscape] = static_cast<std::uint16_t>(left - one);
            frequencies.insert(frequencies.end(), table.begin(), table.end());
        }
        return make_delta_model(layout_, growth, std::move(bounds), stays, frequencies);
    }

    void compare(const Encode& encode, const Decode& decode, Bytes chunk) {
        const Exact payload = encoded(encode);
        require(decoded(decode, payload.view(), chunk.size(), chunk), "a payload is refused");
        for (int i = 0; i < kDamages; ++i) {
            const Exact hostile = below(3) == 0 ? invented() : damaged(payload.view());
            decoded(decode, hostile.view(), chunk.size(), {});
        }
    }

    Exact encoded(const Encode& encode) {
        const std::size_t nbytes = encode({});
        Exact payload(nbytes, below(9));
        require(encode(payload.view()) == nbytes, "the length of a payload changes");
        for (const std::string_view name : instruction_sets()) {
            use_instruction_set(name);
            const Exact other(nbytes);
            require(encode(other.view()) == nbytes, "the lengths of payloads differ");
            require(std::ranges::equal(payload.view(), other.view()), "payloads differ");
        }
        return payload;
    }

    // Return what all instruction sets say of a payload; where they accept it and something is expected, it came out.
    bool decoded(const Decode& decode, Bytes payload, std::size_t nbytes, Bytes expected) {
        std::vector<std::uint8_t> first;
        bool is_accepted = false;
        for (const std::string_view name : instruction_sets()) {
            use_instruction_set(name);
            const Exact out(nbytes, below(9));
            const bool accepts = decode(payload, out.view());
            require(expected.empty() || std::ranges::equal(out.view(), expected), "a chunk does not come back");
            if (name == instruction_sets().front()) {
                is_accepted = accepts;
                first.assign(out.view().begin(), out.view().end());
            }
            require(accepts == is_accepted, "verdicts differ");
            require(!accepts || std::ranges::equal(out.view(), first), "chunks differ");
        }
        return is_accepted;
    }

    Exact damaged(Bytes payload) {
        const std::uint64_t kind = below(4);
        std::size_t nbytes = payload.size();
        if (kind == 0) nbytes = below(nbytes + 1);
        if (kind == 1) nbytes += below(70);
        Exact made(nbytes, below(9));
        std::copy_n(payload.begin(), std::min(nbytes, payload.size()), made.view().begin());
        if (nbytes == 0) return made;
        for (std::uint64_t left = below(4) + (kind > 1 ? 1 : 0); left != 0; --left) {
            const std::size_t trailer = std::min(nbytes, trailer_nbytes_);
            const std::size_t at = kind == 2 ? nbytes - trailer + below(std::min<std::size_t>(trailer, 12)) : below(nbytes);
            made.view()[at] = static_cast<std::uint8_t>(below(2) == 0 ? random_() : made.view()[at] ^ 1U << below(8));
        }
        return made;
    }

    // Noise with a trailer that a reader believes.
    Exact invented() {
        const std::size_t body = below(3) == 0 ? below(8) : below(4000);
        Exact made(body + trailer_nbytes_, below(9));
        std::ranges::generate(made.view(), [&] { return static_cast<std::uint8_t>(random_()); });
        const auto escapes = static_cast<std::uint32_t>(below(body / item_nbytes_ + 1));
        const std::size_t rest = body - escapes * item_nbytes_;
        const auto bits = static_cast<std::uint32_t>(rest - std::min(rest, below(rest / 2 + 1) * 2));
        std::uint8_t* const trailer = made.view().data() + body;
        std::memcpy(trailer, &escapes, 4);
        if (trailer_nbytes_ == kDeltaTrailer) {
            std::memcpy(trailer + 4, &bits, 4);
            if (below(2) == 0) trailer[9] = static_cast<std::uint8_t>(below(9));
        }
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            const auto state = static_cast<std::uint32_t>(kLeastState + below((1U << 31) - kLeastState));
            std::memcpy(trailer + trailer_nbytes_ - kStatesNbytes + 4 * lane, &state, 4);
        }
        return made;
    }

    Layout layout_{};
    std::size_t item_nbytes_ = 0;
    std::size_t trailer_nbytes_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
    return fuzz_rounds<Fuzz>("fuzz_codecs", count, arguments);
}
