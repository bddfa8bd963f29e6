// pg_types.cuh: what both halves of the prelude share: types, conversions, arithmetic.
//
// Plain C++ on purpose: the same lines are compiled for the device and for the host emulator. A half defines
// PG_DEVICE (the qualifiers of a function kernels call) and everything else that pg_prelude.cuh lists before its
// include of this text.

/// The packed batch (rt::Batch, KernelAbi.h), by value: N tokens and per-token tables.
struct pg_batch {
    long long n;
    const int *row_begin, *row_end, *segment_begin, *segment_end, *slot;
};

/// N values in registers, or 16-byte pieces of them in memory.
template <typename T, int N> struct pg_vec {
    T v[N];
    PG_DEVICE T &operator[](int i) { return v[i]; }
    PG_DEVICE const T &operator[](int i) const { return v[i]; }
};

//--- conversions between stored and computed elements ------------------------------------------------------------

/// bf16 values are floats in registers, i1 are bools; everything else is itself.
PG_DEVICE float pg_widen(bf16 x) { return pg_float((unsigned)x.bits << 16); }
PG_DEVICE float pg_widen(float x) { return x; }
PG_DEVICE double pg_widen(double x) { return x; }
PG_DEVICE int pg_widen(int x) { return x; }
PG_DEVICE int pg_widen(signed char x) { return x; }
PG_DEVICE bool pg_widen(unsigned char x) { return x != 0; }

PG_DEVICE float pg_round_bf16(float x) { return pg_widen(pg_bf16(x)); }
/// double rounded once to a bf16 value: through a float rounded to odd.
PG_DEVICE double pg_round_bf16(double x) {
    float f = (float)x;
    if (f != f)
        return x;
    unsigned bits = pg_bits(f);
    if ((double)f != x && (bits & 1u) == 0u) {
        const bool away = ((double)f > x) == (f > 0.0f);
        bits = away ? bits - 1u : bits + 1u;
        f = pg_float(bits);
    }
    return (double)pg_round_bf16(f);
}

PG_DEVICE void pg_narrow(bf16 &to, float x) { to = pg_bf16(x); }
PG_DEVICE void pg_narrow(float &to, float x) { to = x; }
PG_DEVICE void pg_narrow(double &to, double x) { to = x; }
PG_DEVICE void pg_narrow(int &to, int x) { to = x; }
PG_DEVICE void pg_narrow(signed char &to, int x) { to = (signed char)x; }
PG_DEVICE void pg_narrow(unsigned char &to, bool x) { to = x ? 1 : 0; }

/// The register type of a stored element.
template <typename T> struct pg_wide {
    typedef T type;
};
template <> struct pg_wide<bf16> {
    typedef float type;
};
template <> struct pg_wide<signed char> {
    typedef int type;
};
template <> struct pg_wide<unsigned char> {
    typedef bool type;
};

//--- memory: scalars and vectors, aligned to 16 bytes or to their size -------------------------------------------

template <typename T> PG_DEVICE typename pg_wide<T>::type pg_get(const T *p) { return pg_widen(pg_read(p)); }
template <typename T> PG_DEVICE void pg_put(T *p, typename pg_wide<T>::type x) {
    T narrow;
    pg_narrow(narrow, x);
    pg_write(p, narrow);
}

/// N consecutive elements, in accesses of up to 16 bytes; p is aligned to the access.
template <int N, typename T> PG_DEVICE pg_vec<typename pg_wide<T>::type, N> pg_load(const T *p) {
    constexpr int bytes = N * (int)sizeof(T) < 16 ? N * (int)sizeof(T) : 16;
    constexpr int piece = bytes / (int)sizeof(T);
    pg_vec<typename pg_wide<T>::type, N> r;
#pragma unroll
    for (int k = 0; k < N; k += piece) {
        const pg_pack<T, piece> part = pg_read(reinterpret_cast<const pg_pack<T, piece> *>(p + k));
#pragma unroll
        for (int j = 0; j < piece; ++j)
            r.v[k + j] = pg_widen(part.v[j]);
    }
    return r;
}
template <int N, typename T> PG_DEVICE void pg_store(T *p, const pg_vec<typename pg_wide<T>::type, N> &x) {
    constexpr int bytes = N * (int)sizeof(T) < 16 ? N * (int)sizeof(T) : 16;
    constexpr int piece = bytes / (int)sizeof(T);
#pragma unroll
    for (int k = 0; k < N; k += piece) {
        pg_pack<T, piece> part;
#pragma unroll
        for (int j = 0; j < piece; ++j)
            pg_narrow(part.v[j], x.v[k + j]);
        pg_write(reinterpret_cast<pg_pack<T, piece> *>(p + k), part);
    }
}

//--- arithmetic --------------------------------------------------------------------------------------------------

/// Maximum and minimum; a NaN on either side is the result.
PG_DEVICE float pg_max(float a, float b) { return a > b || a != a ? a : b; }
PG_DEVICE double pg_max(double a, double b) { return a > b || a != a ? a : b; }
PG_DEVICE int pg_max(int a, int b) { return a > b ? a : b; }
PG_DEVICE float pg_min(float a, float b) { return a < b || a != a ? a : b; }
PG_DEVICE double pg_min(double a, double b) { return a < b || a != a ? a : b; }
PG_DEVICE int pg_min(int a, int b) { return a < b ? a : b; }

/// 32-bit integers modulo 2^32.
PG_DEVICE int pg_wrap_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
PG_DEVICE int pg_wrap_sub(int a, int b) { return (int)((unsigned)a - (unsigned)b); }
PG_DEVICE int pg_wrap_mul(int a, int b) { return (int)((unsigned)a * (unsigned)b); }

/// 1 / (1 + e^-x) without overflow; small results keep their relative accuracy.
PG_DEVICE float pg_sigmoid(float x) {
    const float decay = pg_exp(-pg_abs(x));
    return (x < 0.0f ? decay : 1.0f) / (1.0f + decay);
}
PG_DEVICE double pg_sigmoid(double x) {
    const double decay = pg_exp(-pg_abs(x));
    return (x < 0.0 ? decay : 1.0) / (1.0 + decay);
}

//--- tiles in shared memory --------------------------------------------------------------------------------------

/// Byte offset of 16-byte chunk `chunk` of row `row` in a tile whose rows have `pitch` bytes, a multiple of 128. Chunks
/// change places inside groups of eight, so that eight rows of one chunk lie in different banks.
PG_DEVICE int pg_swizzle(int row, int chunk, int pitch) { return row * pitch + ((chunk ^ (row & 7)) << 4); }

/// Eight codes (signed bytes) at `chunk` become eight bf16 in its 16 bytes. A code plus 128 as the low byte of 2^23 is an
/// exact float; 2^23 + 128 less, it is the code, of which the upper half of the float holds every bit.
PG_DEVICE void pg_widen_codes(void *chunk) {
    const pg_pack<unsigned, 2> codes = pg_read(reinterpret_cast<const pg_pack<unsigned, 2> *>(chunk));
    pg_pack<unsigned, 4> wide;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned biased = codes.v[k / 2] ^ 0x80808080u, first = 0x7440u + k % 2 * 2;
        const float low = pg_float(pg_byte_permute(biased, 0x4b000000u, first)) - 8388736.0f;
        const float high = pg_float(pg_byte_permute(biased, 0x4b000000u, first + 1)) - 8388736.0f;
        wide.v[k] = pg_byte_permute(pg_bits(low), pg_bits(high), 0x7632u);
    }
    pg_write(reinterpret_cast<pg_pack<unsigned, 4> *>(chunk), wide);
}

//--- reductions over lanes ---------------------------------------------------------------------------------------

/// Sum (maximum) over aligned groups of G lanes of the warp, G a power of two; every lane of a group has the result.
/// All 32 lanes must call. A butterfly: the tree is the same in every lane.
template <int G, typename T> PG_DEVICE T pg_lanes_sum(T x) {
#pragma unroll
    for (int d = G / 2; d > 0; d /= 2)
        x += pg_shuffle_xor(x, d);
    return x;
}
template <int G, typename T> PG_DEVICE T pg_lanes_max(T x) {
#pragma unroll
    for (int d = G / 2; d > 0; d /= 2)
        x = pg_max(x, pg_shuffle_xor(x, d));
    return x;
}

/// Sum (maximum) over the whole block of WARPS warps; `scratch` holds WARPS values. Every thread must call and has
/// the result; scratch is free again when the next barrier has been passed.
template <int WARPS, typename T> PG_DEVICE T pg_block_sum(T x, T *scratch) {
    x = pg_lanes_sum<32>(x);
    pg_barrier();
    if (pg_thread() % 32 == 0)
        scratch[pg_thread() / 32] = x;
    pg_barrier();
    T sum = scratch[0];
    for (int w = 1; w < WARPS; ++w)
        sum += scratch[w];
    return sum;
}
template <int WARPS, typename T> PG_DEVICE T pg_block_max(T x, T *scratch) {
    x = pg_lanes_max<32>(x);
    pg_barrier();
    if (pg_thread() % 32 == 0)
        scratch[pg_thread() / 32] = x;
    pg_barrier();
    T most = scratch[0];
    for (int w = 1; w < WARPS; ++w)
        most = pg_max(most, scratch[w]);
    return most;
}
