// pg_prelude.cuh: the host half of the prelude, for the emulator.
//
// The same names as runtime/kernels/pg_prelude.cuh. What needs other threads goes through the emulator; memory
// accesses check their alignment.
#pragma once

#include "test/emulator/EmulatorAbi.h"

#include <cmath>
#include <cstring>

#define PG_DEVICE inline
#define __global__
#define __device__
#define __launch_bounds__(...)

/// Set by the emulator after loading.
extern "C" {
pg::emulator::Abi *pg_emulator = nullptr;
}

struct bf16 {
    unsigned short bits;
};

inline int pg_thread() { return pg_emulator->thread; }
inline long long pg_block() { return pg_emulator->block; }
inline unsigned char *pg_shared() { return pg_emulator->shared; }

inline void pg_keep_order() {}
inline void pg_barrier() { pg_emulator->barrier(0, 0); }

//--- warp collectives --------------------------------------------------------------------------------------------

/// Lane operands and result of a shuffle.
template <typename T> struct pg_shuffle_operands {
    T x;
    int lane;
    T result;
};
inline void pg_warp_barrier() {
    char nothing = 0;
    pg_emulator->warp("warp barrier", &nothing, [](void *const *) {});
}
template <typename T> T pg_emulated_shuffle(const char *tag, T x, int lane) {
    pg_shuffle_operands<T> mine = {x, lane, T()};
    pg_emulator->warp(tag, &mine, [](void *const *lanes) {
        for (int k = 0; k < 32; ++k) {
            auto *own = static_cast<pg_shuffle_operands<T> *>(lanes[k]);
            own->result = static_cast<pg_shuffle_operands<T> *>(lanes[own->lane & 31])->x;
        }
    });
    return mine.result;
}
template <typename T> T pg_shuffle(T x, int lane) { return pg_emulated_shuffle("shuffle", x, lane); }
template <typename T> T pg_shuffle_xor(T x, int mask) {
    return pg_emulated_shuffle("shuffle xor", x, (pg_thread() % 32) ^ mask);
}

//--- bits and mathematics ----------------------------------------------------------------------------------------

inline unsigned pg_bits(float x) {
    unsigned r;
    std::memcpy(&r, &x, 4);
    return r;
}
inline float pg_float(unsigned x) {
    float r;
    std::memcpy(&r, &x, 4);
    return r;
}
inline unsigned pg_byte_permute(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long bytes = a | static_cast<unsigned long long>(b) << 32;
    unsigned r = 0;
    for (int n = 0; n < 4; ++n)
        r |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * n) & 7u)) & 0xffu) << (8 * n);
    return r;
}
inline bf16 pg_bf16(float x) {
    const unsigned bits = pg_bits(x);
    const unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return {static_cast<unsigned short>(x != x ? 0x7fffu : rounded)};
}

inline float pg_exp(float x) { return std::exp(x); }
inline double pg_exp(double x) { return std::exp(x); }
inline float pg_log(float x) { return std::log(x); }
inline double pg_log(double x) { return std::log(x); }
inline float pg_tanh(float x) { return std::tanh(x); }
inline double pg_tanh(double x) { return std::tanh(x); }
inline float pg_sqrt(float x) { return std::sqrt(x); }
inline double pg_sqrt(double x) { return std::sqrt(x); }
inline float pg_round_int(float x) { return std::nearbyint(x); } // ties to even
inline double pg_round_int(double x) { return std::nearbyint(x); }
inline float pg_rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline double pg_rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float pg_abs(float x) { return std::fabs(x); }
inline double pg_abs(double x) { return std::fabs(x); }
inline float pg_sin(float x) { return std::sin(x); }
inline double pg_sin(double x) { return std::sin(x); }
inline float pg_cos(float x) { return std::cos(x); }
inline double pg_cos(double x) { return std::cos(x); }
inline float pg_erf(float x) { return std::erf(x); }
inline double pg_erf(double x) { return std::erf(x); }
inline float pg_fma(float a, float b, float c) { return std::fma(a, b, c); }
inline double pg_fma(double a, double b, double c) { return std::fma(a, b, c); }

//--- approximate mathematics -------------------------------------------------------------------------------------

inline float pg_exp2(float x) { return x < -126.0f ? 0.0f : std::exp2(x); }
inline float pg_divide(float a, float b) { return a / b; }
inline float pg_larger(float a, float b) { return std::fmax(a, b); }

//--- asynchronous copies -----------------------------------------------------------------------------------------

inline void pg_cp_async16(void *to, const void *from, bool inside) {
    pg_emulator->asyncCopy(to, from, 16, inside ? 16 : 0);
}
inline void pg_cp_async8(void *to, const void *from, bool inside) {
    pg_emulator->asyncCopy(to, from, 8, inside ? 8 : 0);
}
inline void pg_cp_async4(void *to, const void *from, bool inside) {
    pg_emulator->asyncCopy(to, from, 4, inside ? 4 : 0);
}
inline void pg_cp_async_commit() { pg_emulator->asyncCommit(); }
template <int kPending> void pg_cp_async_wait() { pg_emulator->asyncWait(kPending); }

//--- tensor cores ------------------------------------------------------------------------------------------------

struct pg_ldmatrix_operands {
    const unsigned char *row;
    unsigned result[4];
};
template <bool kTransposed> void pg_emulated_ldmatrix(const char *tag, unsigned (&r)[4], const void *row) {
    if (reinterpret_cast<unsigned long long>(row) % 16 != 0)
        pg_emulator->fault("a matrix row at an address that is no multiple of 16");
    pg_ldmatrix_operands mine = {static_cast<const unsigned char *>(row), {}};
    pg_emulator->warp(tag, &mine, [](void *const *lanes) {
        for (int l = 0; l < 32; ++l)
            for (int i = 0; i < 4; ++i) {
                unsigned short pair[2];
                for (int j = 0; j < 2; ++j) {
                    const int outer = l / 4, inner = l % 4 * 2 + j;
                    const int r = kTransposed ? inner : outer, c = kTransposed ? outer : inner;
                    std::memcpy(&pair[j], static_cast<pg_ldmatrix_operands *>(lanes[8 * i + r])->row + 2 * c, 2);
                }
                static_cast<pg_ldmatrix_operands *>(lanes[l])->result[i] = pair[0] | unsigned(pair[1]) << 16;
            }
    });
    for (int i = 0; i < 4; ++i)
        r[i] = mine.result[i];
}
inline void pg_ldmatrix_x4(unsigned (&r)[4], const void *row) {
    pg_emulated_ldmatrix<false>("ldmatrix", r, row);
}
inline void pg_ldmatrix_x4_trans(unsigned (&r)[4], const void *row) {
    pg_emulated_ldmatrix<true>("ldmatrix transposed", r, row);
}

struct pg_mma_operands {
    float *d;
    const unsigned *a;
    unsigned b[2];
};
inline void pg_mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    pg_mma_operands mine = {d, a, {b0, b1}};
    pg_emulator->warp("mma m16n8k16", &mine, [](void *const *lanes) {
        // Fragments to matrices: A [16][16], B [16][8]. Eight sums at a time, each over k in order.
        typedef float Row __attribute__((vector_size(32)));
        float a[16][16];
        Row b[16], sums[16] = {};
        for (int l = 0; l < 32; ++l) {
            const auto *lane = static_cast<pg_mma_operands *>(lanes[l]);
            const int g = l / 4, t = l % 4;
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 2; ++j)
                    a[g + 8 * (i % 2)][2 * t + j + 8 * (i / 2)] = pg_float(lane->a[i] >> (16 * j) << 16);
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 2; ++j)
                    b[2 * t + j + 8 * i][g] = pg_float(lane->b[i] >> (16 * j) << 16);
        }
        for (int m = 0; m < 16; ++m)
            for (int k = 0; k < 16; ++k)
                sums[m] += a[m][k] * b[k];
        for (int l = 0; l < 32; ++l) {
            auto *lane = static_cast<pg_mma_operands *>(lanes[l]);
            for (int i = 0; i < 4; ++i)
                lane->d[i] += sums[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2];
        }
    });
}
inline unsigned pg_pack_bf16(float low, float high) {
    return pg_bf16(low).bits | unsigned(pg_bf16(high).bits) << 16;
}

//--- memory ------------------------------------------------------------------------------------------------------

template <typename T, int N> struct alignas(N * sizeof(T)) pg_pack {
    T v[N];
};
template <typename T> void pg_check_alignment(const T *p) {
    if (reinterpret_cast<unsigned long long>(p) % alignof(T) != 0)
        pg_emulator->fault("a misaligned access");
}
template <typename T> T pg_read(const T *p) {
    pg_check_alignment(p);
    return *p;
}
template <typename T> void pg_write(T *p, const T &x) {
    pg_check_alignment(p);
    *p = x;
}

#include "runtime/kernels/pg_types.cuh"

//--- calling a kernel --------------------------------------------------------------------------------------------

/// Calls a __global__ function with parameters as cuLaunchKernel takes them: addresses of the values.
template <typename... A> void pg_call(void (*kernel)(A...), void **params) {
    int k = 0;
    // Braces evaluate from left to right.
    struct Call {
        Call(void (*f)(A...), A... a) { f(a...); }
    } call{kernel, *static_cast<A *>(params[k++])...};
}
