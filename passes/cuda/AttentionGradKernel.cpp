//===- AttentionGradKernel.cpp - attention gradients on tensor cores ----------===//
//
// Two stages, so that every sum has one owner and one order (no atomics):
//   dq   a block per 64 kFragments queries of a head, over key tiles in order:
//        S = Q K^T, dP = dO V^T, dS = P (dP - delta), dq += dS K
//   dkdv a block per 64 kFragments keys of a group, over the group's heads and then
//        query tiles in order, everything transposed so that P and dS are left
//        operands without leaving their registers:
//        S^T = K Q^T, dP^T = V dO^T, dv += P^T dO, dk += dS^T Q
// P = 2^(s log2(e) - lse log2(e)) is recomputed; the scale of dq and dk is applied
// to the sums. Seven products instead of the five of a kernel that adds dq by
// atomics. kPart columns of S are in registers at a time.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/AttentionText.h"

using namespace mlir;

namespace pg::cuda {
namespace {

// Both stages begin alike.
const char *kConstants =
    R"(constexpr int kWarps = 4, kThreads = 32 * kWarps, kFragments = @fragments@, kRows = 16 * kFragments * kWarps, kOthers = 64, kPart = @part@;
constexpr int kKeySteps = @keySteps@, kValueSteps = @valueSteps@; // 16 features each
constexpr int kKeyPitch = @keyPitch@, kValuePitch = @valuePitch@;
constexpr float kScale = @scale@, kScaleLog2 = @scaleLog2@, kLog2E = @log2e@;
const int thread = pg_thread(), lane = thread % 32, warp = thread / 32, tokens = (int)batch.n;
const int *const first_of = @begins@;
const auto first_key = [&](int token) { return @firstKey@; };)";

// s += left right^T for the warp's rows of two tiles and kPart rows of another.
const char *kScores =
    R"(#pragma unroll
for (int f = 0; f < @steps@; ++f) {
    unsigned left[kFragments][4];
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
        pg_ldmatrix_x4(left[m], @left@ + pg_swizzle(16 * (kFragments * warp + m) + lane % 16, 2 * f + lane / 16, @pitch@));
#pragma unroll
    for (int n = 0; n < kPart / 16; ++n) {
        unsigned right[4];
        pg_ldmatrix_x4(right, @right@ + pg_swizzle(part + 16 * n + lane / 16 * 8 + lane % 8, 2 * f + lane / 8 % 2, @pitch@));
#pragma unroll
        for (int m = 0; m < kFragments; ++m) {
            pg_mma_m16n8k16(@to@[m][2 * n], left[m], right[0], right[1]);
            pg_mma_m16n8k16(@to@[m][2 * n + 1], left[m], right[2], right[3]);
        }
    }
})";

// to += left right, left [rows][kPart] in registers, right kPart rows of a tile.
const char *kGather =
    R"(#pragma unroll
for (int j = 0; j < kPart / 16; ++j)
#pragma unroll
    for (int n = 0; n < @steps@; ++n) {
        unsigned right[4];
        pg_ldmatrix_x4_trans(right, @right@ + pg_swizzle(part + 16 * j + lane % 16, 2 * n + lane / 16, @pitch@));
#pragma unroll
        for (int m = 0; m < kFragments; ++m) {
            pg_mma_m16n8k16(@to@[m][2 * n], @left@[m][j], right[0], right[1]);
            pg_mma_m16n8k16(@to@[m][2 * n + 1], @left@[m][j], right[2], right[3]);
        }
    })";

const char *kQueryStage =
    R"(const int block = (int)pg_block(), head = block % @heads@, group = head * @groups@ / @heads@;
const int token0 = block / @heads@ * kRows, query_end = pg_min(token0 + kRows, tokens);
unsigned char *const q_tile = pg_shared(), *const dout_tile = q_tile + kRows * kKeyPitch, *const stages = dout_tile + kRows * kValuePitch;
constexpr int kStageBytes = kOthers * (kKeyPitch + kValuePitch);
const auto fetch = [&](unsigned char *stage, int key0) {
    @copyK@
    @copyV@
};
const int last_first = first_key(query_end - 1);
int key0 = first_key(token0) / kOthers * kOthers;
@copyQ@
@copyDOut@
fetch(stages, key0);
pg_cp_async_commit();

// Rows of this thread: 16 m + 8 half + lane / 4 of its warp.
const int own_row = token0 + 16 * kFragments * warp + lane / 4;
int first[kFragments][2];
float base[kFragments][2], shift[kFragments][2];
#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = pg_min(own_row + 16 * m + 8 * half, tokens - 1);
        first[m][half] = first_key(token);
        base[m][half] = pg_get(@lse@ + (@heads@ll * token + head)) * kLog2E;
        shift[m][half] = pg_get(@delta@ + (@heads@ll * token + head));
    }
float dq[kFragments][2 * kKeySteps][4] = {};
for (int step = 0; key0 < query_end; ++step, key0 += kOthers) {
    pg_cp_async_wait<0>();
    pg_barrier();
    if (key0 + kOthers < query_end)
        fetch(stages + (step + 1) % 2 * kStageBytes, key0 + kOthers);
    pg_cp_async_commit();
    const unsigned char *const k_tile = stages + step % 2 * kStageBytes, *const v_tile = k_tile + kOthers * kKeyPitch;
    const bool masked = key0 + kOthers - 1 > token0 || last_first > key0;
#pragma unroll
    for (int part = 0; part < kOthers; part += kPart) {
        float s[kFragments][kPart / 8][4] = {}, dp[kFragments][kPart / 8][4] = {};
        @scores@
        @slopes@
        unsigned ds[kFragments][kPart / 16][4];
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
#pragma unroll
            for (int n = 0; n < kPart / 8; ++n)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float pair[2];
#pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        float p = pg_exp2(s[m][n][2 * half + j] * kScaleLog2 - base[m][half]);
                        if (masked) {
                            const int key = key0 + part + 8 * n + lane % 4 * 2 + j;
                            if (key > own_row + 16 * m + 8 * half || key < first[m][half])
                                p = 0;
                        }
                        pair[j] = p * (dp[m][n][2 * half + j] - shift[m][half]);
                    }
                    ds[m][n / 2][n % 2 * 2 + half] = pg_pack_bf16(pair[0], pair[1]);
                }
        @gather@
    }
}
#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = own_row + 16 * m + 8 * half;
        if (token >= tokens)
            continue;
        const long long at = @heads@ll * token + head;
#pragma unroll
        for (int n = 0; n < 2 * kKeySteps; ++n) {
            const int c = 8 * n + lane % 4 * 2;
            const float g0 = dq[m][n][2 * half] * kScale, g1 = dq[m][n][2 * half + 1] * kScale;
            @store@
        }
    })";

const char *kKeyStage =
    R"(constexpr int kMembers = @members@; // heads of a group
const int block = (int)pg_block(), group = block % @groups@;
const int key0 = block / @groups@ * kRows, last_key = pg_min(key0 + kRows, tokens) - 1;
unsigned char *const k_tile = pg_shared(), *const v_tile = k_tile + kRows * kKeyPitch, *const stages = v_tile + kRows * kValuePitch;
constexpr int kStageBytes = kOthers * (kKeyPitch + kValuePitch + 12);
const int *const last_of = @ends@;
const int query_end = @queryEnd@, tiles = (query_end - key0 + kOthers - 1) / kOthers;
const auto fetch = [&](int step) {
    unsigned char *const stage = stages + step % 2 * kStageBytes;
    const int head = group * kMembers + step / tiles, token0 = key0 + step % tiles * kOthers;
    @copyQ@
    @copyDOut@
    float *const rows = reinterpret_cast<float *>(stage + kOthers * (kKeyPitch + kValuePitch));
    for (int i = thread; i < kOthers; i += kThreads) {
        const bool inside = token0 + i < tokens;
        pg_cp_async4(rows + i, @lse@ + @heads@ll * (token0 + i) + head, inside);
        pg_cp_async4(rows + kOthers + i, @delta@ + @heads@ll * (token0 + i) + head, inside);
        pg_cp_async4(rows + 2 * kOthers + i, first_of + token0 + i, inside);
    }
};
@copyK@
@copyV@
fetch(0);
pg_cp_async_commit();

const int own_row = key0 + 16 * kFragments * warp + lane / 4;
float dk[kFragments][2 * kKeySteps][4] = {}, dv[kFragments][2 * kValueSteps][4] = {};
for (int step = 0; step < kMembers * tiles; ++step) {
    pg_cp_async_wait<0>();
    pg_barrier();
    if (step + 1 < kMembers * tiles)
        fetch(step + 1);
    pg_cp_async_commit();
    const unsigned char *const q_tile = stages + step % 2 * kStageBytes, *const dout_tile = q_tile + kOthers * kKeyPitch;
    const float *const lse_of = reinterpret_cast<const float *>(dout_tile + kOthers * kValuePitch), *const delta_of = lse_of + kOthers;
    const int *const begin_of = reinterpret_cast<const int *>(delta_of + kOthers);
    const int token0 = key0 + step % tiles * kOthers, last_token = token0 + kOthers - 1;
    const bool masked = key0 + kRows - 1 > token0 || last_token >= tokens || begin_of[kOthers - 1] > key0@maskedByWindow@;
#pragma unroll
    for (int part = 0; part < kOthers; part += kPart) {
        float s[kFragments][kPart / 8][4] = {}, dp[kFragments][kPart / 8][4] = {};
        @scores@
        @slopes@
        unsigned p[kFragments][kPart / 16][4], ds[kFragments][kPart / 16][4];
#pragma unroll
        for (int n = 0; n < kPart / 8; ++n) {
            const int column = part + 8 * n + lane % 4 * 2;
            const pg_vec<float, 2> lse = pg_load<2>(lse_of + column), delta = pg_load<2>(delta_of + column);
            int first[2] = {0, 0};
            if (masked) {
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const int query = token0 + column + j;
                    // A query behind the last token sees nothing.
                    first[j] = query < tokens ? @firstOfQuery@ : query + 1;
                }
            }
#pragma unroll
            for (int m = 0; m < kFragments; ++m)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float p_pair[2], ds_pair[2];
#pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        p_pair[j] = pg_exp2(s[m][n][2 * half + j] * kScaleLog2 - lse[j] * kLog2E);
                        if (masked) {
                            const int key = own_row + 16 * m + 8 * half;
                            if (key > token0 + column + j || key < first[j])
                                p_pair[j] = 0;
                        }
                        ds_pair[j] = p_pair[j] * (dp[m][n][2 * half + j] - delta[j]);
                    }
                    p[m][n / 2][n % 2 * 2 + half] = pg_pack_bf16(p_pair[0], p_pair[1]);
                    ds[m][n / 2][n % 2 * 2 + half] = pg_pack_bf16(ds_pair[0], ds_pair[1]);
                }
        }
        @gatherV@
        @gatherK@
    }
}
#pragma unroll
for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int token = own_row + 16 * m + 8 * half;
        if (token >= tokens)
            continue;
        const long long at = @groups@ll * token + group;
#pragma unroll
        for (int n = 0; n < 2 * kKeySteps; ++n) {
            const int c = 8 * n + lane % 4 * 2;
            const float g0 = dk[m][n][2 * half] * kScale, g1 = dk[m][n][2 * half + 1] * kScale;
            @storeK@
        }
#pragma unroll
        for (int n = 0; n < 2 * kValueSteps; ++n) {
            const int c = 8 * n + lane % 4 * 2;
            const float g0 = dv[m][n][2 * half], g1 = dv[m][n][2 * half + 1];
            @storeV@
        }
    })";

std::string scores(const char *to, const char *left, const char *right,
                   bool keys) {
  return Holes()
      .set("to", to)
      .set("left", left)
      .set("right", right)
      .set("steps", keys ? "kKeySteps" : "kValueSteps")
      .set("pitch", keys ? "kKeyPitch" : "kValuePitch")
      .fill(kScores);
}

std::string gather(const char *to, const char *left, const char *right,
                   bool keys) {
  return Holes()
      .set("to", to)
      .set("left", left)
      .set("right", right)
      .set("steps", keys ? "kKeySteps" : "kValueSteps")
      .set("pitch", keys ? "kKeyPitch" : "kValuePitch")
      .fill(kGather);
}

} // namespace

void emitTensorCoreAttentionGrad(KernelText &text, const AttentionShape &shape,
                                 const ResultMap &buffers) {
  enum Operand { Q, K, V, DOut, Lse, Delta };
  enum Result { DQ, DK, DV };
  std::string heads = std::to_string(shape.heads),
              groups = std::to_string(shape.groups);
  auto copy = [&](Operand which, const char *to, const char *token0,
                  bool queries, const char *rows) {
    bool keys = which == Q || which == K;
    return copyHeadTile(
        buffers.operand(which), buffers.operandAlignment(which), to, token0,
        queries ? "head" : "group", queries ? heads : groups,
        keys ? shape.keyWidth : shape.valueWidth, rows,
        keys ? "kKeySteps" : "kValueSteps", keys ? "kKeyPitch" : "kValuePitch");
  };
  std::string name = text.def().getSymName().str();
  Stage stage;
  stage.threads = 128;
  stage.blocksPerSm = shape.fragments() == 2 ? 2 : 1;
  int64_t rows = 64 * shape.fragments();
  stage.blocks.tokensPerItem = rows;
  int64_t pitches = shape.keyPitch() + shape.valuePitch();

  if (buffers.isWanted(DQ)) {
    Holes holes = attentionHoles(shape);
    holes.set("part", 32);
    holes.set("lse", buffers.operand(Lse)).set("delta", buffers.operand(Delta));
    holes.set("copyK", copy(K, "stage", "key0", false, "kOthers"));
    holes.set("copyV", copy(V, "stage + kOthers * kKeyPitch", "key0", false,
                            "kOthers"));
    holes.set("copyQ", copy(Q, "q_tile", "token0", true, "kRows"));
    holes.set("copyDOut", copy(DOut, "dout_tile", "token0", true, "kRows"));
    holes.set("scores", scores("s", "q_tile", "k_tile", true));
    holes.set("slopes", scores("dp", "dout_tile", "v_tile", false));
    holes.set("gather", gather("dq", "ds", "k_tile", true));
    holes.set("store", storePair(buffers, DQ, "at", shape.keyWidth, "g0", "g1"));
    SourceWriter w;
    w.line(holes.fill(kConstants));
    w.line(holes.fill(kQueryStage));
    stage.symbol = name + "_dq";
    stage.sharedBytes = (rows + 2 * 64) * pitches;
    stage.blocks.multiplier = shape.heads;
    text.addStage(stage, w);
  }
  if (buffers.isWanted(DK) || buffers.isWanted(DV)) {
    Holes holes = attentionHoles(shape);
    holes.set("part", shape.fragments() == 2 ? 16 : 32);
    holes.set("members", shape.heads / shape.groups);
    holes.set("lse", buffers.operand(Lse)).set("delta", buffers.operand(Delta));
    std::string window = std::to_string(shape.window - 1);
    holes.set("maskedByWindow",
              shape.window > 0 ? " || last_token - " + window + " > key0" : "");
    holes.set("firstOfQuery",
              shape.window > 0
                  ? "pg_max(begin_of[column + j], query - " + window + ")"
                  : "begin_of[column + j]");
    holes.set("copyQ", copy(Q, "stage", "token0", true, "kOthers"));
    holes.set("copyDOut", copy(DOut, "stage + kOthers * kKeyPitch", "token0",
                               true, "kOthers"));
    holes.set("copyK", copy(K, "k_tile", "key0", false, "kRows"));
    holes.set("copyV", copy(V, "v_tile", "key0", false, "kRows"));
    holes.set("scores", scores("s", "k_tile", "q_tile", true));
    holes.set("slopes", scores("dp", "v_tile", "dout_tile", false));
    holes.set("gatherV", gather("dv", "p", "dout_tile", false));
    holes.set("gatherK", gather("dk", "ds", "q_tile", true));
    holes.set("storeK", storePair(buffers, DK, "at", shape.keyWidth, "g0", "g1"));
    holes.set("storeV",
              storePair(buffers, DV, "at", shape.valueWidth, "g0", "g1"));
    SourceWriter w;
    w.line(holes.fill(kConstants));
    w.line(holes.fill(kKeyStage));
    stage.symbol = name + "_dkdv";
    stage.sharedBytes = rows * pitches + 2 * 64 * (pitches + 12);
    stage.blocks.multiplier = shape.groups;
    text.addStage(stage, w);
  }
}

} // namespace pg::cuda
