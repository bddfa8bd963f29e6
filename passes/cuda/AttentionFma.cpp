//===- AttentionFma.cpp - attention in f32 and f64 ----------------------------===//
//
// The parity variants: the same order of tiles as on tensor cores, scores by fma.
// 16 x 16 threads; thread (y, x) has rows kPer y + i and columns x + 16 j of a tile
// of kT x kT scores, so the 16 lanes of one y share a row and read neighbours. Also
// for bf16 heads of more than 128 features, then with P and dS in f32.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/AttentionText.h"

using namespace mlir;

namespace pg::cuda {
namespace {

const char *kConstants =
    R"(constexpr int kThreads = 256, kT = @t@, kPer = kT / 16, kKeyWidth = @keyWidth@, kValueWidth = @valueWidth@;
constexpr int kKeyPitch = kKeyWidth | 1, kValuePitch = kValueWidth | 1, kScorePitch = kT + 1; // odd: no bank conflicts
constexpr int kKeyColumns = (kKeyWidth + 15) / 16, kValueColumns = (kValueWidth + 15) / 16;
constexpr @sum@ kScale = @scale@, kMasked = @lowest@;
const int thread = pg_thread(), x = thread % 16, y = thread / 16, tokens = (int)batch.n;
const int *const first_of = @begins@;
const auto first_key = [&](int token) { return @firstKey@; };)";

const char *kCopy =
    R"(for (int i = thread; i < kT * @width@; i += kThreads) {
    const int r = i / @width@, c = i % @width@;
    @to@[r * @pitch@ + c] = @token0@ + r < tokens ? pg_get(@from@ + (@heads@ll * (@token0@ + r) + @head@) * @width@ + c) : 0;
})";

const char *kForward =
    R"(const int block = (int)pg_block(), head = block % @heads@, group = head * @groups@ / @heads@;
const int token0 = block / @heads@ * kT, query_end = pg_min(token0 + kT, tokens);
@sum@ *const q_tile = reinterpret_cast<@sum@ *>(pg_shared()), *const k_tile = q_tile + kT * kKeyPitch;
@sum@ *const v_tile = k_tile + kT * kKeyPitch, *const p_tile = v_tile + kT * kValuePitch;
@copyQ@
@sum@ out[kPer][kValueColumns] = {}, peak[kPer], total[kPer];
int first[kPer];
#pragma unroll
for (int i = 0; i < kPer; ++i) {
    peak[i] = kMasked;
    total[i] = 0;
    first[i] = first_key(pg_min(token0 + kPer * y + i, tokens - 1));
}
for (int key0 = first_key(token0) / kT * kT; key0 < query_end; key0 += kT) {
    pg_barrier();
    @copyK@
    @copyV@
    pg_barrier();
    @sum@ s[kPer][kPer] = {};
    for (int c = 0; c < kKeyWidth; ++c)
#pragma unroll
        for (int i = 0; i < kPer; ++i)
#pragma unroll
            for (int j = 0; j < kPer; ++j)
                s[i][j] = pg_fma(q_tile[(kPer * y + i) * kKeyPitch + c], k_tile[(x + 16 * j) * kKeyPitch + c], s[i][j]);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
        const int token = token0 + kPer * y + i;
        @sum@ most = peak[i];
#pragma unroll
        for (int j = 0; j < kPer; ++j) {
            const int key = key0 + x + 16 * j;
            s[i][j] = key > token || key < first[i] ? kMasked : s[i][j] * kScale;
            most = pg_max(most, s[i][j]);
        }
        most = pg_lanes_max<16>(most);
        const @sum@ base = most == kMasked ? 0 : most, shrink = pg_exp(peak[i] - base);
        peak[i] = most;
        @sum@ part = 0;
#pragma unroll
        for (int j = 0; j < kPer; ++j) {
            const @sum@ p = pg_exp(s[i][j] - base);
            part += p;
            p_tile[(kPer * y + i) * kScorePitch + x + 16 * j] = p;
        }
        total[i] = total[i] * shrink + pg_lanes_sum<16>(part);
#pragma unroll
        for (int n = 0; n < kValueColumns; ++n)
            out[i][n] *= shrink;
    }
    // A row's lanes are in one warp.
    pg_warp_barrier();
    for (int key = 0; key < kT; ++key)
#pragma unroll
        for (int n = 0; n < kValueColumns; ++n)
            if (x + 16 * n < kValueWidth) {
#pragma unroll
                for (int i = 0; i < kPer; ++i)
                    out[i][n] = pg_fma(p_tile[(kPer * y + i) * kScorePitch + key], v_tile[key * kValuePitch + x + 16 * n], out[i][n]);
            }
}
#pragma unroll
for (int i = 0; i < kPer; ++i) {
    const int token = token0 + kPer * y + i;
    if (token >= tokens)
        continue;
    const long long at = @heads@ll * token + head;
    const @sum@ inverse = 1 / total[i];
#pragma unroll
    for (int n = 0; n < kValueColumns; ++n) {
        const int c = x + 16 * n;
        if (c < kValueWidth) {
            @store@
        }
    }
    if (x == 0) {
        @storeLse@
    }
})";

// Scores and slopes of a tile pair: rows of `left`, columns of `right` tiles.
const char *kPair =
    R"(@sum@ s[kPer][kPer] = {}, dp[kPer][kPer] = {};
for (int c = 0; c < kKeyWidth; ++c)
#pragma unroll
    for (int i = 0; i < kPer; ++i)
#pragma unroll
        for (int j = 0; j < kPer; ++j)
            s[i][j] = pg_fma(@leftKeys@[(kPer * y + i) * kKeyPitch + c], @rightKeys@[(x + 16 * j) * kKeyPitch + c], s[i][j]);
for (int c = 0; c < kValueWidth; ++c)
#pragma unroll
    for (int i = 0; i < kPer; ++i)
#pragma unroll
        for (int j = 0; j < kPer; ++j)
            dp[i][j] = pg_fma(@leftValues@[(kPer * y + i) * kValuePitch + c], @rightValues@[(x + 16 * j) * kValuePitch + c], dp[i][j]);)";

const char *kQueryStage =
    R"(const int block = (int)pg_block(), head = block % @heads@, group = head * @groups@ / @heads@;
const int token0 = block / @heads@ * kT, query_end = pg_min(token0 + kT, tokens);
@sum@ *const q_tile = reinterpret_cast<@sum@ *>(pg_shared()), *const k_tile = q_tile + kT * kKeyPitch;
@sum@ *const dout_tile = k_tile + kT * kKeyPitch, *const v_tile = dout_tile + kT * kValuePitch, *const ds_tile = v_tile + kT * kValuePitch;
@copyQ@
@copyDOut@
@sum@ dq[kPer][kKeyColumns] = {}, lse[kPer], delta[kPer];
int first[kPer];
#pragma unroll
for (int i = 0; i < kPer; ++i) {
    const int token = pg_min(token0 + kPer * y + i, tokens - 1);
    first[i] = first_key(token);
    lse[i] = pg_get(@lse@ + (@heads@ll * token + head));
    delta[i] = pg_get(@delta@ + (@heads@ll * token + head));
}
for (int key0 = first_key(token0) / kT * kT; key0 < query_end; key0 += kT) {
    pg_barrier();
    @copyK@
    @copyV@
    pg_barrier();
    @pair@
#pragma unroll
    for (int i = 0; i < kPer; ++i)
#pragma unroll
        for (int j = 0; j < kPer; ++j) {
            const int token = token0 + kPer * y + i, key = key0 + x + 16 * j;
            const bool seen = key <= token && key >= first[i];
            const @sum@ p = seen ? pg_exp(s[i][j] * kScale - lse[i]) : 0;
            ds_tile[(kPer * y + i) * kScorePitch + x + 16 * j] = seen ? p * (dp[i][j] - delta[i]) * kScale : 0;
        }
    pg_warp_barrier();
    for (int key = 0; key < kT; ++key)
#pragma unroll
        for (int n = 0; n < kKeyColumns; ++n)
            if (x + 16 * n < kKeyWidth) {
#pragma unroll
                for (int i = 0; i < kPer; ++i)
                    dq[i][n] = pg_fma(ds_tile[(kPer * y + i) * kScorePitch + key], k_tile[key * kKeyPitch + x + 16 * n], dq[i][n]);
            }
}
#pragma unroll
for (int i = 0; i < kPer; ++i) {
    const int token = token0 + kPer * y + i;
    if (token >= tokens)
        continue;
    const long long at = @heads@ll * token + head;
#pragma unroll
    for (int n = 0; n < kKeyColumns; ++n) {
        const int c = x + 16 * n;
        if (c < kKeyWidth) {
            @store@
        }
    }
})";

const char *kKeyStage =
    R"(constexpr int kMembers = @members@; // heads of a group
const int block = (int)pg_block(), group = block % @groups@;
const int key0 = block / @groups@ * kT, last_key = pg_min(key0 + kT, tokens) - 1;
@sum@ *const k_tile = reinterpret_cast<@sum@ *>(pg_shared()), *const q_tile = k_tile + kT * kKeyPitch;
@sum@ *const v_tile = q_tile + kT * kKeyPitch, *const dout_tile = v_tile + kT * kValuePitch;
@sum@ *const p_tile = dout_tile + kT * kValuePitch, *const ds_tile = p_tile + kT * kScorePitch;
const int *const last_of = @ends@;
const int query_end = @queryEnd@;
@copyK@
@copyV@
@sum@ dk[kPer][kKeyColumns] = {}, dv[kPer][kValueColumns] = {};
for (int member = 0; member < kMembers; ++member) {
    const int head = group * kMembers + member;
    for (int token0 = key0; token0 < query_end; token0 += kT) {
        pg_barrier();
        @copyQ@
        @copyDOut@
        pg_barrier();
        @pair@
#pragma unroll
        for (int j = 0; j < kPer; ++j) {
            const int token = token0 + x + 16 * j, known = pg_min(token, tokens - 1);
            const int first = first_key(known);
            const @sum@ lse = pg_get(@lse@ + (@heads@ll * known + head)), delta = pg_get(@delta@ + (@heads@ll * known + head));
#pragma unroll
            for (int i = 0; i < kPer; ++i) {
                const int key = key0 + kPer * y + i;
                const bool seen = key <= token && key >= first && token < tokens;
                const @sum@ p = seen ? pg_exp(s[i][j] * kScale - lse) : 0;
                p_tile[(kPer * y + i) * kScorePitch + x + 16 * j] = p;
                ds_tile[(kPer * y + i) * kScorePitch + x + 16 * j] = seen ? p * (dp[i][j] - delta) * kScale : 0;
            }
        }
        pg_warp_barrier();
        for (int query = 0; query < kT; ++query) {
#pragma unroll
            for (int n = 0; n < kValueColumns; ++n)
                if (x + 16 * n < kValueWidth) {
#pragma unroll
                    for (int i = 0; i < kPer; ++i)
                        dv[i][n] = pg_fma(p_tile[(kPer * y + i) * kScorePitch + query], dout_tile[query * kValuePitch + x + 16 * n], dv[i][n]);
                }
#pragma unroll
            for (int n = 0; n < kKeyColumns; ++n)
                if (x + 16 * n < kKeyWidth) {
#pragma unroll
                    for (int i = 0; i < kPer; ++i)
                        dk[i][n] = pg_fma(ds_tile[(kPer * y + i) * kScorePitch + query], q_tile[query * kKeyPitch + x + 16 * n], dk[i][n]);
                }
        }
    }
}
#pragma unroll
for (int i = 0; i < kPer; ++i) {
    const int token = key0 + kPer * y + i;
    if (token >= tokens)
        continue;
    const long long at = @groups@ll * token + group;
#pragma unroll
    for (int n = 0; n < kKeyColumns; ++n) {
        const int c = x + 16 * n;
        if (c < kKeyWidth) {
            @storeK@
        }
    }
#pragma unroll
    for (int n = 0; n < kValueColumns; ++n) {
        const int c = x + 16 * n;
        if (c < kValueWidth) {
            @storeV@
        }
    }
})";

/// Shared memory of `keyTiles` + `valueTiles` tiles and `scores` score tiles.
int64_t sharedBytes(const AttentionShape &shape, int64_t t, int64_t keyTiles,
                    int64_t valueTiles, int64_t scores) {
  return t * shape.sumBytes() *
         (keyTiles * (shape.keyWidth | 1) + valueTiles * (shape.valueWidth | 1) +
          scores * (t + 1));
}

/// The largest tile that two blocks of an sm_80 multiprocessor can have.
int64_t tileSize(const AttentionShape &shape, int64_t keyTiles,
                 int64_t valueTiles, int64_t scores) {
  int64_t t = 64;
  while (t > 16 &&
         sharedBytes(shape, t, keyTiles, valueTiles, scores) > 82 * 1024)
    t /= 2;
  return t;
}

std::string copy(const AttentionShape &shape, const std::string &from,
                 const char *to, const char *token0, bool queries, bool keys) {
  return Holes()
      .set("from", from)
      .set("to", to)
      .set("token0", token0)
      .set("head", queries ? "head" : "group")
      .set("heads", queries ? shape.heads : shape.groups)
      .set("width", keys ? "kKeyWidth" : "kValueWidth")
      .set("pitch", keys ? "kKeyPitch" : "kValuePitch")
      .fill(kCopy);
}

Holes fmaHoles(const AttentionShape &shape, int64_t t) {
  return attentionHoles(shape).set("t", t).set("lowest",
                                               literalOf(-1e30, shape.sum()));
}

void addStage(KernelText &text, const std::string &suffix, int64_t t,
              int64_t bytes, int64_t perTile, const Holes &holes,
              const char *body) {
  SourceWriter w;
  w.line(holes.fill(kConstants));
  w.line(holes.fill(body));
  Stage stage;
  stage.symbol = text.def().getSymName().str() + suffix;
  stage.threads = 256;
  stage.sharedBytes = bytes;
  stage.blocks.tokensPerItem = t;
  stage.blocks.multiplier = perTile;
  text.addStage(stage, w);
}

} // namespace

void emitFmaAttention(KernelText &text, const AttentionShape &shape,
                      const ResultMap &buffers) {
  int64_t t = tileSize(shape, 2, 1, 1);
  Holes holes = fmaHoles(shape, t);
  holes.set("copyQ", copy(shape, buffers.operand(0), "q_tile", "token0", true, true));
  holes.set("copyK", copy(shape, buffers.operand(1), "k_tile", "key0", false, true));
  holes.set("copyV", copy(shape, buffers.operand(2), "v_tile", "key0", false, false));
  holes.set("store", buffers.put(0, "kValueWidth * at + c", "out[i][n] * inverse"));
  holes.set("storeLse", buffers.put(1, "at", "peak[i] + pg_log(total[i])"));
  addStage(text, "", t, sharedBytes(shape, t, 2, 1, 1), shape.heads, holes,
           kForward);
}

void emitFmaAttentionGrad(KernelText &text, const AttentionShape &shape,
                          const ResultMap &buffers) {
  enum Operand { Q, K, V, DOut, Lse, Delta };
  enum Result { DQ, DK, DV };
  auto pair = [&](const char *leftKeys, const char *rightKeys,
                  const char *leftValues, const char *rightValues) {
    return Holes()
        .set("sum", shape.sum())
        .set("leftKeys", leftKeys)
        .set("rightKeys", rightKeys)
        .set("leftValues", leftValues)
        .set("rightValues", rightValues)
        .fill(kPair);
  };
  auto common = [&](int64_t t) {
    Holes holes = fmaHoles(shape, t);
    holes.set("lse", buffers.operand(Lse)).set("delta", buffers.operand(Delta));
    holes.set("members", shape.heads / shape.groups);
    holes.set("copyQ", copy(shape, buffers.operand(Q), "q_tile", "token0", true, true));
    holes.set("copyK", copy(shape, buffers.operand(K), "k_tile", "key0", false, true));
    holes.set("copyV", copy(shape, buffers.operand(V), "v_tile", "key0", false, false));
    holes.set("copyDOut", copy(shape, buffers.operand(DOut), "dout_tile", "token0", true, false));
    return holes;
  };
  if (buffers.isWanted(DQ)) {
    int64_t t = tileSize(shape, 2, 2, 1);
    Holes holes = common(t);
    holes.set("pair", pair("q_tile", "k_tile", "dout_tile", "v_tile"));
    holes.set("store", buffers.put(DQ, "kKeyWidth * at + c", "dq[i][n]"));
    addStage(text, "_dq", t, sharedBytes(shape, t, 2, 2, 1), shape.heads, holes,
             kQueryStage);
  }
  if (buffers.isWanted(DK) || buffers.isWanted(DV)) {
    int64_t t = tileSize(shape, 2, 2, 2);
    Holes holes = common(t);
    holes.set("pair", pair("k_tile", "q_tile", "v_tile", "dout_tile"));
    holes.set("storeK", buffers.put(DK, "kKeyWidth * at + c", "dk[i][n]"));
    holes.set("storeV", buffers.put(DV, "kValueWidth * at + c", "dv[i][n]"));
    addStage(text, "_dkdv", t, sharedBytes(shape, t, 2, 2, 2), shape.groups,
             holes, kKeyStage);
  }
}

} // namespace pg::cuda
