//===- AttentionKernel.cpp - attention forward on tensor cores ----------------===//
//
// A block makes the output of 16 kFragments x 4 warps queries of one head. For
// the tiles of 64 keys that any of them sees, in order:
//   S = Q K^T in registers, masked where a query does not see a key
//   online softmax in base 2: P = 2^(s - peak), O and the sum scaled by
//   2^(old peak - peak)
//   O += P V, P rounded to bf16 without leaving its registers
// The next tile of K and V is on its way meanwhile. Rows, segments and windows
// are what a token's first visible key is; tiles that nobody sees are skipped.
// Key tiles begin at multiples of their size, so sums depend on positions alone.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/AttentionText.h"

using namespace mlir;

namespace pg::cuda {

static const char *kForward =
    R"(constexpr int kWarps = 4, kThreads = 32 * kWarps, kFragments = @fragments@, kQueries = 16 * kFragments * kWarps, kKeys = 64;
constexpr int kKeySteps = @keySteps@, kValueSteps = @valueSteps@; // 16 features each
constexpr int kKeyPitch = @keyPitch@, kValuePitch = @valuePitch@;
constexpr int kStageBytes = kKeys * (kKeyPitch + kValuePitch);
constexpr float kScale = @effectiveScale@, kScaleLog2 = @effectiveLog2@, kMasked = -1e30f;
const int thread = pg_thread(), lane = thread % 32, warp = thread / 32, tokens = (int)batch.n;
const int block = (int)pg_block(), head = block % @heads@, group = head * @groups@ / @heads@;
const int token0 = block / @heads@ * kQueries, query_end = pg_min(token0 + kQueries, tokens);
unsigned char *const q_tile = pg_shared(), *const stages = q_tile + kQueries * kKeyPitch;
const int *const first_of = @begins@;
const auto first_key = [&](int token) { return @firstKey@; };
const auto fetch = [&](unsigned char *stage, int key0) {
    @copyK@
    @copyV@
};

// Rows of this thread: 16 m + 8 half + lane / 4 of its warp.
const int own_row = token0 + 16 * kFragments * warp + lane / 4;
float peak[kFragments][2], total[kFragments][2];
#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        peak[m][half] = kMasked;
        total[m][half] = 0;
    }
float out[kFragments][2 * kValueSteps][4] = {};

const int last_first = first_key(query_end - 1);
int key0 = first_key(token0) / kKeys * kKeys;
@copyQ@
fetch(stages, key0);
pg_cp_async_commit();
for (int step = 0; key0 < query_end; ++step, key0 += kKeys) {
    pg_cp_async_wait<0>();
    pg_barrier();
    if (key0 + kKeys < query_end)
        fetch(stages + (step + 1) % 2 * kStageBytes, key0 + kKeys);
    pg_cp_async_commit();
    const unsigned char *const k_tile = stages + step % 2 * kStageBytes, *const v_tile = k_tile + kKeys * kKeyPitch;
    float s[kFragments][kKeys / 8][4] = {};
#pragma unroll
    for (int f = 0; f < kKeySteps; ++f) {
        unsigned q[kFragments][4]; // read again for every tile: no registers to keep it
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
            pg_ldmatrix_x4(q[m], q_tile + pg_swizzle(16 * (kFragments * warp + m) + lane % 16, 2 * f + lane / 16, kKeyPitch));
#pragma unroll
        for (int n = 0; n < kKeys / 16; ++n) {
            unsigned k[4];
            pg_ldmatrix_x4(k, k_tile + pg_swizzle(16 * n + lane / 16 * 8 + lane % 8, 2 * f + lane / 8 % 2, kKeyPitch));
#pragma unroll
            for (int m = 0; m < kFragments; ++m) {
                pg_mma_m16n8k16(s[m][2 * n], q[m], k[0], k[1]);
                pg_mma_m16n8k16(s[m][2 * n + 1], q[m], k[2], k[3]);
            }
        }
    }
    @prescale@
    if (key0 + kKeys - 1 > token0 || last_first > key0) {
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int token = own_row + 16 * m + 8 * half, first = first_key(pg_min(token, tokens - 1));
#pragma unroll
                for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        const int key = key0 + 8 * n + lane % 4 * 2 + j;
                        if (key > token || key < first)
                            s[m][n][2 * half + j] = kMasked;
                    }
            }
    }

    unsigned p[kFragments][kKeys / 16][4];
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float most = peak[m][half];
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n)
                most = pg_larger(most, pg_larger(s[m][n][2 * half], s[m][n][2 * half + 1]));
            most = pg_larger(most, pg_shuffle_xor(most, 1));
            most = pg_larger(most, pg_shuffle_xor(most, 2));
            // A row that has seen no key yet stays empty: 2^(kMasked) is 0.
            const float base = most == kMasked ? 0.0f : most * kScaleLog2;
            const float shrink = pg_exp2(peak[m][half] * kScaleLog2 - base);
            peak[m][half] = most;
            float part = 0;
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                const float p0 = pg_exp2(s[m][n][2 * half] * kScaleLog2 - base);
                const float p1 = pg_exp2(s[m][n][2 * half + 1] * kScaleLog2 - base);
                part += p0 + p1;
                p[m][n / 2][n % 2 * 2 + half] = pg_pack_bf16(p0, p1);
            }
            total[m][half] = total[m][half] * shrink + part;
#pragma unroll
            for (int n = 0; n < 2 * kValueSteps; ++n) {
                out[m][n][2 * half] *= shrink;
                out[m][n][2 * half + 1] *= shrink;
            }
        }

#pragma unroll
    for (int j = 0; j < kKeys / 16; ++j)
#pragma unroll
        for (int n = 0; n < kValueSteps; ++n) {
            unsigned v[4];
            pg_ldmatrix_x4_trans(v, v_tile + pg_swizzle(16 * j + lane % 16, 2 * n + lane / 16, kValuePitch));
#pragma unroll
            for (int m = 0; m < kFragments; ++m) {
                pg_mma_m16n8k16(out[m][2 * n], p[m][j], v[0], v[1]);
                pg_mma_m16n8k16(out[m][2 * n + 1], p[m][j], v[2], v[3]);
            }
        }
}

#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = own_row + 16 * m + 8 * half;
        float sum = total[m][half] + pg_shuffle_xor(total[m][half], 1);
        sum += pg_shuffle_xor(sum, 2);
        if (token >= tokens)
            continue;
        const long long at = @heads@ll * token + head;
        const float inverse = 1.0f / sum;
#pragma unroll
        for (int n = 0; n < 2 * kValueSteps; ++n) {
            const int c = 8 * n + lane % 4 * 2;
            const float o0 = out[m][n][2 * half] * inverse, o1 = out[m][n][2 * half + 1] * inverse;
            @store@
        }
        if (lane % 4 == 0) {
            @storeLse@
        }
    })";

void emitTensorCoreAttention(KernelText &text, const AttentionShape &shape,
                             const ResultMap &buffers) {
  Holes holes = attentionHoles(shape);
  // The peak of the scaled scores is that of the scores only under a positive
  // scale; any other one is multiplied in.
  bool positive = shape.scale > 0;
  constexpr double kLog2E = 1.4426950408889634;
  double scale = positive ? shape.scale : 1;
  holes.set("effectiveScale", literalOf(scale, "float"));
  holes.set("effectiveLog2", literalOf(scale * kLog2E, "float"));
  holes.set("prescale", positive ? std::string() : holes.fill(
      R"(#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            s[m][n][i] *= @scale@;)"));
  std::string heads = std::to_string(shape.heads),
              groups = std::to_string(shape.groups);
  holes.set("copyQ", copyHeadTile(buffers.operand(0), buffers.operandAlignment(0),
                                  "q_tile", "token0", "head", heads,
                                  shape.keyWidth, "kQueries", "kKeySteps",
                                  "kKeyPitch"));
  holes.set("copyK", copyHeadTile(buffers.operand(1), buffers.operandAlignment(1),
                                  "stage", "key0", "group", groups,
                                  shape.keyWidth, "kKeys", "kKeySteps",
                                  "kKeyPitch"));
  holes.set("copyV", copyHeadTile(buffers.operand(2), buffers.operandAlignment(2),
                                  "stage + kKeys * kKeyPitch", "key0", "group",
                                  groups, shape.valueWidth, "kKeys",
                                  "kValueSteps", "kValuePitch"));
  holes.set("store", storePair(buffers, 0, "at", shape.valueWidth, "o0", "o1"));
  holes.set("storeLse",
            buffers.put(1, "at", "peak[m][half] * kScale + pg_log(sum)"));
  SourceWriter w;
  w.line(holes.fill(kForward));
  Stage stage;
  stage.symbol = text.def().getSymName().str();
  stage.threads = 128;
  stage.blocksPerSm = shape.fragments() == 2 ? 2 : 1;
  int64_t queries = 64 * shape.fragments();
  stage.sharedBytes = queries * shape.keyPitch() +
                      2 * 64 * (shape.keyPitch() + shape.valuePitch());
  stage.blocks.tokensPerItem = queries;
  stage.blocks.multiplier = shape.heads;
  text.addStage(stage, w);
}

} // namespace pg::cuda
