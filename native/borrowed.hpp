// Buffers that Python lends.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "kernels.hpp"

namespace lamella {

// A borrowed buffer of contiguous bytes; the exporter cannot resize it while this lives.
class Borrowed {
   public:
    Borrowed(nanobind::handle exporter, const char* name, int flags = PyBUF_SIMPLE) {
        if (!PyObject_CheckBuffer(exporter.ptr())) throw nanobind::type_error("a bytes-like object is required");
        if (PyObject_GetBuffer(exporter.ptr(), &view_, flags) == 0) return;
        PyErr_Clear();
        const std::string kind = flags & PyBUF_WRITABLE ? " must be a writable" : " must be a";
        throw nanobind::value_error((name + kind + " contiguous buffer").c_str());
    }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { PyBuffer_Release(&view_); }

    std::size_t size() const { return static_cast<std::size_t>(view_.len); }
    Bytes bytes() const { return {static_cast<const std::uint8_t*>(view_.buf), size()}; }
    MutableBytes mutable_bytes() const { return {static_cast<std::uint8_t*>(view_.buf), size()}; }

   private:
    Py_buffer view_;
};

inline void require(bool holds, const char* message) {
    if (!holds) throw nanobind::value_error(message);
}

}  // namespace lamella
