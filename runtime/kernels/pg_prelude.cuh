// pg_prelude.cuh: the device half of the prelude that generated kernels include.
//
// Generated text contains no asm and no CUDA intrinsic: all of that is here, under names that the emulator
// (test/emulator) defines for the host. No header is needed, so NVRTC compiles it anywhere.

#define PG_DEVICE __device__ __forceinline__

/// Storage of a bfloat16: the upper half of a float. Kernels compute in float.
struct bf16 {
    unsigned short bits;
};

//--- where a thread is -------------------------------------------------------------------------------------------

PG_DEVICE int pg_thread() { return (int)threadIdx.x; }
PG_DEVICE long long pg_block() { return (long long)blockIdx.x; }

/// The block's shared memory: one arena, offsets chosen by the compiler, 1024-byte aligned.
PG_DEVICE unsigned char *pg_shared() {
    extern __shared__ __align__(1024) unsigned char pg_arena[];
    return pg_arena;
}

//--- waiting for each other --------------------------------------------------------------------------------------

/// All threads of the block; orders their memory accesses.
PG_DEVICE void pg_barrier() { __syncthreads(); }
/// All lanes of the warp; orders their memory accesses.
PG_DEVICE void pg_warp_barrier() { __syncwarp(); }

/// The compiler moves no memory access across: bounds how many loads of an unrolled loop are in flight.
PG_DEVICE void pg_keep_order() { asm volatile("" ::: "memory"); }

//--- registers of other lanes (all 32 lanes call) ----------------------------------------------------------------

PG_DEVICE float pg_shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
PG_DEVICE double pg_shuffle_xor(double x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
PG_DEVICE int pg_shuffle_xor(int x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
PG_DEVICE float pg_shuffle(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
PG_DEVICE double pg_shuffle(double x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
PG_DEVICE int pg_shuffle(int x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }

//--- bits and mathematics ----------------------------------------------------------------------------------------

PG_DEVICE unsigned pg_bits(float x) { return __float_as_uint(x); }
PG_DEVICE float pg_float(unsigned x) { return __uint_as_float(x); }
/// Byte n of the result is byte (selector >> 4 n) % 8 of the eight of a (0 to 3) and b (4 to 7).
PG_DEVICE unsigned pg_byte_permute(unsigned a, unsigned b, unsigned selector) { return __byte_perm(a, b, selector); }
/// float to bf16, nearest even; NaN becomes 0x7fff.
PG_DEVICE bf16 pg_bf16(float x) {
    bf16 r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}

PG_DEVICE float pg_exp(float x) { return expf(x); }
PG_DEVICE double pg_exp(double x) { return exp(x); }
PG_DEVICE float pg_log(float x) { return logf(x); }
PG_DEVICE double pg_log(double x) { return log(x); }
PG_DEVICE float pg_tanh(float x) { return tanhf(x); }
PG_DEVICE double pg_tanh(double x) { return tanh(x); }
PG_DEVICE float pg_sqrt(float x) { return sqrtf(x); }
PG_DEVICE double pg_sqrt(double x) { return sqrt(x); }
PG_DEVICE float pg_round_int(float x) { return rintf(x); } // ties to even
PG_DEVICE double pg_round_int(double x) { return rint(x); }
PG_DEVICE float pg_rsqrt(float x) { return rsqrtf(x); }
PG_DEVICE double pg_rsqrt(double x) { return 1.0 / sqrt(x); }
PG_DEVICE float pg_abs(float x) { return fabsf(x); }
PG_DEVICE double pg_abs(double x) { return fabs(x); }
PG_DEVICE float pg_sin(float x) { return sinf(x); }
PG_DEVICE double pg_sin(double x) { return sin(x); }
PG_DEVICE float pg_cos(float x) { return cosf(x); }
PG_DEVICE double pg_cos(double x) { return cos(x); }
PG_DEVICE float pg_erf(float x) { return erff(x); }
PG_DEVICE double pg_erf(double x) { return erf(x); }
PG_DEVICE float pg_fma(float a, float b, float c) { return fmaf(a, b, c); }
PG_DEVICE double pg_fma(double a, double b, double c) { return fma(a, b, c); }

//--- approximate mathematics, for values that are rounded to bf16 or lie beside such ------------------------------

/// 2^x, relative error 2^-22; 0 below the normal range.
PG_DEVICE float pg_exp2(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
/// a / b, relative error 2^-22; 0 for infinite b.
PG_DEVICE float pg_divide(float a, float b) { return __fdividef(a, b); }
/// The larger one; that which is a number when the other is not.
PG_DEVICE float pg_larger(float a, float b) { return fmaxf(a, b); }

//--- asynchronous copies to shared memory -------------------------------------------------------------------------

PG_DEVICE unsigned pg_shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }
/// 16 bytes of global memory, or 16 zero bytes where `inside` is false (then `from` is not read).
PG_DEVICE void pg_cp_async16(void *to, const void *from, bool inside) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(pg_shared_address(to)), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
}
PG_DEVICE void pg_cp_async8(void *to, const void *from, bool inside) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(pg_shared_address(to)), "l"(from),
                 "r"(inside ? 8 : 0)
                 : "memory");
}
PG_DEVICE void pg_cp_async4(void *to, const void *from, bool inside) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(pg_shared_address(to)), "l"(from),
                 "r"(inside ? 4 : 0)
                 : "memory");
}
/// Ends a group of copies of this thread.
PG_DEVICE void pg_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kPending of the thread's latest groups are on their way.
template <int kPending> PG_DEVICE void pg_cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

//--- tensor cores (all 32 lanes call) -----------------------------------------------------------------------------

/// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8 and gets elements
/// 2 (l % 4), + 1 of row l / 4 of each.
PG_DEVICE void pg_ldmatrix_x4(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(pg_shared_address(row))
                 : "memory");
}
/// The same of the transposed matrices.
PG_DEVICE void pg_ldmatrix_x4_trans(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(pg_shared_address(row))
                 : "memory");
}
/// d += a b for a 16 x 16 and b 16 x 8 of bf16. Lane l, g = l / 4, t = l % 4: a[i] has columns 2 t, + 1 (+ 8 for i >= 2)
/// of row g + 8 (i % 2), b_i rows 2 t, + 1 (+ 8 i) of column g, d[i] row g + 8 (i / 2), column 2 t + i % 2.
PG_DEVICE void pg_mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// Two floats as a pair of bf16, the first in the lower half.
PG_DEVICE unsigned pg_pack_bf16(float low, float high) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

//--- memory ------------------------------------------------------------------------------------------------------

/// N stored elements that move as one access.
template <typename T, int N> struct __align__(N * sizeof(T)) pg_pack {
    T v[N];
};
template <typename T> PG_DEVICE T pg_read(const T *p) { return *p; }
template <typename T> PG_DEVICE void pg_write(T *p, const T &x) { *p = x; }

#include "pg_types.cuh"
