//===- Softcap.h - how far a softcap bounds the logits --------------------===//
#ifndef PG_DIALECT_OPS_SOFTCAP_H
#define PG_DIALECT_OPS_SOFTCAP_H

namespace pg {

/// A softcap c up to here stands for the maximum of the logits z in
/// log(sum exp(z - top)) + top: with |z| <= c, exp(z - c) >= exp(-2 c) is a
/// normal f32 number for every z.
inline constexpr double kBoundingSoftcap = 40.0;

} // namespace pg

#endif // PG_DIALECT_OPS_SOFTCAP_H
