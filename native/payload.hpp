// Writing and reading the parts of a payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "rans.hpp"

namespace lamella {

// Grows to the longest chunk that a thread has seen.
class Room {
   public:
    std::uint8_t* of(std::size_t nbytes) {
        if (nbytes > nbytes_) {
            bytes_ = std::make_unique_for_overwrite<std::uint8_t[]>(nbytes);
            nbytes_ = nbytes;
        }
        return bytes_.get();
    }

   private:
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::size_t nbytes_ = 0;
};

template <class Value>
void store(std::uint8_t*& at, Value value) noexcept {
    std::memcpy(at, &value, sizeof value);
    at += sizeof value;
}

template <class Value>
Value load(const std::uint8_t* at) noexcept {
    Value value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Return the first escape of what lies between the two, null where there is none.
inline const std::uint8_t* next_escape(const std::uint8_t* from, const std::uint8_t* end) noexcept {
    return static_cast<const std::uint8_t*>(std::memchr(from, kEscape, static_cast<std::size_t>(end - from)));
}

}  // namespace lamella
