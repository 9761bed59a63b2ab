#include "elements.hpp"

#include <array>
#include <cmath>
#include <limits>

namespace lamella {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double power_of_two(int exponent) { return std::ldexp(1.0, exponent); }

using Table = std::array<double, 256>;

// A number of a sign, bits of exponent and bits of mantissa, subnormal where the exponent is 0.
double small_float(unsigned code, unsigned bits, int mantissa, int smallest) {
    const unsigned magnitude = code & ((1U << (bits - 1)) - 1), field = magnitude >> mantissa;
    const unsigned fraction = magnitude & ((1U << mantissa) - 1);
    const double units = field == 0 ? fraction : fraction + (1U << mantissa);
    const double size = units * power_of_two(smallest - mantissa + (field == 0 ? 0 : static_cast<int>(field) - 1));
    return (code >> (bits - 1)) != 0 ? -size : size;
}

Table floats(unsigned bits, int mantissa, int smallest) {
    Table table{};
    for (unsigned code = 0; code < 1U << bits; ++code) table[code] = small_float(code, bits, mantissa, smallest);
    return table;
}

// Of the kind without infinities and without a negative zero, whose place NaN has.
Table unsigned_zero(int mantissa, int smallest) {
    Table table = floats(8, mantissa, smallest);
    table[0x80] = kNan;
    return table;
}

Table e4m3() {
    Table table = floats(8, 3, -6);
    table[0x7f] = table[0xff] = kNan;
    return table;
}

Table e5m2() {
    Table table = floats(8, 2, -14);
    for (const unsigned sign : {0U, 0x80U}) {
        table[sign | 0x7c] = sign != 0 ? -HUGE_VAL : HUGE_VAL;
        for (const unsigned code : {0x7dU, 0x7eU, 0x7fU}) table[sign | code] = kNan;
    }
    return table;
}

Table exponents() {
    Table table{};
    for (int code = 0; code < 255; ++code) table[static_cast<std::size_t>(code)] = power_of_two(code - 127);
    table[255] = kNan;
    return table;
}

Table integers(unsigned bits, bool is_signed) {
    Table table{};
    const int size = 1 << bits;
    for (int code = 0; code < size; ++code)
        table[static_cast<std::size_t>(code)] = is_signed && code >= size / 2 ? code - size : code;
    return table;
}

Table truth() {
    Table table;
    table.fill(1.0);
    table[0] = 0.0;
    return table;
}

const Table kBool = truth(), kU8 = integers(8, false), kI8 = integers(8, true), kU4 = integers(4, false),
            kI4 = integers(4, true), kU2 = integers(2, false), kI2 = integers(2, true), kE2m1 = floats(4, 1, 0),
            kE2m3 = floats(6, 3, 0), kE3m2 = floats(6, 2, -2), kE4m3 = e4m3(), kE5m2 = e5m2(), kE8m0 = exponents(),
            kE4m3fnuz = unsigned_zero(3, -7), kE5m2fnuz = unsigned_zero(2, -15);

const Element kElements[] = {
    {"bool", 8, Reading::kTable, -1, 0, 0, kBool.data()},
    {"u8", 8, Reading::kTable, -1, 0, 0, kU8.data()},
    {"i8", 8, Reading::kTable, -1, 0, 0, kI8.data()},
    {"u16", 16, Reading::kU16},
    {"i16", 16, Reading::kI16},
    {"u32", 32, Reading::kU32},
    {"i32", 32, Reading::kI32},
    {"u64", 64, Reading::kU64},
    {"i64", 64, Reading::kI64},
    {"f4_e2m1", 4, Reading::kTable, 1, 0, 0x7, kE2m1.data(), Special::kNone},
    {"f6_e2m3", 6, Reading::kTable, 3, 0, 0x1f, kE2m3.data(), Special::kNone},
    {"f6_e3m2", 6, Reading::kTable, 2, -2, 0x1f, kE3m2.data(), Special::kNone},
    {"f8_e4m3", 8, Reading::kTable, 3, -6, 0x7e, kE4m3.data(), Special::kLargestCode},
    {"f8_e5m2", 8, Reading::kTable, 2, -14, 0x7b, kE5m2.data()},
    {"f8_e8m0", 8, Reading::kTable, -1, 0, 0, kE8m0.data()},
    {"f8_e4m3fnuz", 8, Reading::kTable, 3, -7, 0x7f, kE4m3fnuz.data(), Special::kNegativeZero},
    {"f8_e5m2fnuz", 8, Reading::kTable, 2, -15, 0x7f, kE5m2fnuz.data(), Special::kNegativeZero},
    {"f16", 16, Reading::kF16, 10, -14, 0x7bff},
    {"bf16", 16, Reading::kBf16, 7, -126, 0x7f7f},
    {"f32", 32, Reading::kF32, 23, -126, 0x7f7fffff},
    {"f64", 64, Reading::kF64, 52, -1022, 0x7fefffffffffffff},
    {"c64", 32, Reading::kF32, 23, -126, 0x7f7fffff},
    {"c128", 64, Reading::kF64, 52, -1022, 0x7fefffffffffffff},
    {"u4", 4, Reading::kTable, -1, 0, 0, kU4.data()},
    {"i4", 4, Reading::kTable, -1, 0, 0, kI4.data()},
    {"u2", 2, Reading::kTable, -1, 0, 0, kU2.data()},
    {"i2", 2, Reading::kTable, -1, 0, 0, kI2.data()},
};

}  // namespace

const Element* element_named(std::string_view name) noexcept {
    for (const Element& element : kElements)
        if (element.name == name) return &element;
    return nullptr;
}

const Element* coarser(const Element& one, const Element& other) noexcept {
    if (one.mantissa < 0 || other.mantissa < 0) return nullptr;
    if (one.mantissa != other.mantissa) return one.mantissa < other.mantissa ? &one : &other;
    return other.exponent > one.exponent ? &other : &one;
}

}  // namespace lamella
