//===- pg_parameters.h - what a kernel's parameters are ------------------------===//
#ifndef PG_TEST_EMULATOR_PG_PARAMETERS_H
#define PG_TEST_EMULATOR_PG_PARAMETERS_H

/// Bytes of every parameter of a kernel, then 0: what a driver has to copy when
/// a launch is recorded.
template <typename... A> struct pg_parameter_sizes {
  static constexpr unsigned list[sizeof...(A) + 1] = {unsigned(sizeof(A))..., 0};
};
template <typename... A> constexpr const unsigned *pg_sizes_of(void (*)(A...)) { return pg_parameter_sizes<A...>::list; }

#endif // PG_TEST_EMULATOR_PG_PARAMETERS_H
