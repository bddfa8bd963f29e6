//===- CpuDevice.cpp - the package's shared object on a thread pool ---------===//
#include "runtime/device/cpu/CpuDevice.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cstring>
#include <ctime>

namespace pg::rt {
namespace {

constexpr uint64_t kAlignment = 64;
/// Gradient pieces are small: a thread takes several at a time.
constexpr int64_t kPiecesAtOnce = 16;
/// Pieces of a launch between two looks at the abort flag.
constexpr int64_t kAbortPieces = 16;
/// Bytes a thread fills at a time.
constexpr uint64_t kFillBytes = uint64_t(1) << 20;

/// Processor time of the calling thread: what other work on the machine takes is left out.
double threadSeconds() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

template <typename T> double sumOfSquares(const T *values, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      lanes[lane] += double(values[i + lane]) * double(values[i + lane]);
  for (; i < count; ++i)
    lanes[0] += double(values[i]) * double(values[i]);
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

} // namespace

StatusOr<std::unique_ptr<Device>> CpuDevice::create(const Package &package, ThreadPool &threads) {
  std::unique_ptr<CpuDevice> device(new CpuDevice(package, threads));
  auto code = CpuCode::load(package);
  if (!code)
    return code.status();
  device->code = std::move(*code);
  device->scratchStride = uint64_t(kScratchHeader);
  for (const Kernel &kernel : package.kernels)
    device->scratchStride =
        std::max(device->scratchStride, (kernel.scratchBytes + kAlignment - 1) / kAlignment * kAlignment);
  auto scratch = device->allocate(device->scratchStride * uint64_t(threads.size()));
  if (!scratch)
    return scratch.status();
  device->scratch = *scratch;
  return std::unique_ptr<Device>(std::move(device));
}

std::string CpuDevice::describe() const { return "CPU, " + std::to_string(threads.size()) + " threads"; }

StatusOr<char *> CpuDevice::allocate(uint64_t bytes) {
  Arena arena;
  if (!arena.allocate(bytes))
    return Status(Code::Environment, "not enough memory for " + std::to_string(bytes >> 20) + " MiB");
  memory.push_back(std::move(arena));
  return memory.back().data();
}

Status CpuDevice::upload(const std::vector<Upload> &uploads) {
  for (const Upload &upload : uploads)
    std::memcpy(upload.to, upload.from, upload.bytes);
  return Status::ok();
}

Status CpuDevice::read(void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return Status::ok();
}

StatusOr<uint64_t> CpuDevice::queueRead(const void *from, uint64_t bytes) {
  std::vector<char> &result = results[nextResult % kResults];
  result.assign(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
  return nextResult++;
}

Status CpuDevice::finishRead(uint64_t ticket, void *to, uint64_t bytes) {
  if (ticket >= nextResult || nextResult - ticket > kResults)
    return {Code::Internal, "a result was asked for after " + std::to_string(kResults) + " later ones had been queued"};
  std::memcpy(to, results[ticket % kResults].data(), bytes);
  return Status::ok();
}

Status CpuDevice::copy(void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return Status::ok();
}

Status CpuDevice::fill(void *memory, uint8_t byte, uint64_t bytes) {
  // In parallel, so that a large memory costs its bandwidth and its pages are
  // first touched by the threads that will use them.
  auto pieces = int64_t((bytes + kFillBytes - 1) / kFillBytes);
  threads.parallelFor(pieces, 1, [&](int64_t begin, int64_t end, int) {
    uint64_t from = uint64_t(begin) * kFillBytes, to = std::min(bytes, uint64_t(end) * kFillBytes);
    std::memset(static_cast<char *>(memory) + from, byte, to - from);
  });
  return Status::ok();
}

Status CpuDevice::bind(std::vector<BoundEntry> list) {
  entries = std::move(list);
  orders.clear();
  for (const Entry &entry : package.entries)
    orders.push_back(orderLaunches(entry));
  return Status::ok();
}

Status CpuDevice::run(size_t index, const Batch *batch, Profile *profile) {
  const Entry &entry = package.entries[index];
  const std::atomic<bool> *abort = abortFlagOf(entry);
  auto isAborted = [&] { return abort && abort->load(std::memory_order_relaxed); };
  const std::vector<OrderedLaunch> &order = orders[index];
  calls.resize(order.size());
  jobs.clear();
  if (profile)
    profile->startRun(index, batch);
  for (size_t i = 0; i < order.size() && !isAborted(); ++i) {
    size_t launch = order[i].launch;
    if (!profile) {
      jobs.push_back(prepareLaunch(index, launch, batch, abort, nullptr, calls[i]));
      jobs.back().after = order[i].after;
      continue;
    }
    // One by one, so that each has its own time.
    std::span<Profile::ThreadSpan> spans = profile->threadSpans(size_t(threads.size()));
    double start = monotonicSeconds();
    ThreadPool::Job job = prepareLaunch(index, launch, batch, abort, spans.data(), calls[i]);
    threads.run({&job, 1});
    profile->add(entry.launches[launch].kernel, start, monotonicSeconds(), spans);
  }
  if (!profile && !isAborted())
    threads.run(jobs);
  if (isAborted())
    return {Code::Interrupted, "interrupted"};
  return Status::ok();
}

Status CpuDevice::runLaunch(size_t index, size_t launch, const Batch *batch) {
  calls.resize(1);
  ThreadPool::Job job = prepareLaunch(index, launch, batch, nullptr, nullptr, calls[0]);
  threads.run({&job, 1});
  return Status::ok();
}

ThreadPool::Job CpuDevice::prepareLaunch(size_t index, size_t number, const Batch *batch, const std::atomic<bool> *abort,
                                         Profile::ThreadSpan *spans, Call &call) {
  const Launch &launch = package.entries[index].launches[number];
  const BoundEntry &binding = entries[index];
  // A thread that works alone gets the launch as one range: cut it, so that a long one can be given up.
  const WorkItems &items = code.itemsOf(launch);
  int64_t count = items.count(batch ? batch->numTokens : 0), grain = std::max<int64_t>(items.grain, 1);
  call = {code.functions()[launch.kernel], binding.buffers.data() + binding.firstBuffer[number], launch.scalars.data(),
          batch, scratch, scratchStride, abort, ++launches, std::max<int64_t>(1, count / (grain * kAbortPieces)) * grain, spans};
  auto work = [](void *context, int64_t begin, int64_t end, int thread) {
    auto &c = *static_cast<Call *>(context);
    char *own = c.scratch + c.stride * uint64_t(thread);
    auto *header = reinterpret_cast<uint64_t *>(own); // KernelAbi.h
    if (header[1] != c.number) {
      header[0] = 0;
      header[1] = c.number;
    }
    double from = c.spans ? monotonicSeconds() : 0, used = c.spans ? threadSeconds() : 0;
    if (!c.abort)
      c.function(c.buffers, c.scalars, c.batch, begin, end, own);
    else
      for (; begin < end && !c.abort->load(std::memory_order_relaxed); begin += c.piece)
        c.function(c.buffers, c.scalars, c.batch, begin, std::min(end, begin + c.piece), own);
    if (!c.spans)
      return;
    Profile::ThreadSpan &span = c.spans[thread];
    span.busy += threadSeconds() - used;
    span.begin = span.end > 0 ? span.begin : from;
    span.end = monotonicSeconds();
  };
  return {count, grain, items.wantsRuns ? ThreadPool::Cut::Runs : ThreadPool::Cut::Pieces, work, &call, {}};
}

StatusOr<uint64_t> CpuDevice::queueSumSquares(const std::vector<FloatSpan> &pieces) {
  std::vector<char> &result = results[nextResult % kResults];
  result.resize(pieces.size() * sizeof(double));
  auto *sums = reinterpret_cast<double *>(result.data());
  threads.parallelFor(int64_t(pieces.size()), kPiecesAtOnce, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const FloatSpan &piece = pieces[size_t(i)];
      sums[i] = piece.isDouble ? sumOfSquares(static_cast<const double *>(piece.memory), piece.count)
                               : sumOfSquares(static_cast<const float *>(piece.memory), piece.count);
    }
  });
  return nextResult++;
}

Status CpuDevice::scale(const std::vector<FloatSpan> &pieces, double factor) {
  threads.parallelFor(int64_t(pieces.size()), kPiecesAtOnce, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const FloatSpan &piece = pieces[size_t(i)];
      for (int64_t k = 0; k < piece.count; ++k)
        if (piece.isDouble)
          static_cast<double *>(piece.memory)[k] *= factor;
        else
          static_cast<float *>(piece.memory)[k] *= float(factor);
    }
  });
  return Status::ok();
}

Status CpuDevice::add(const std::vector<FloatSpan> &pieces, const std::vector<FloatSpan> &others) {
  threads.parallelFor(int64_t(pieces.size()), kPiecesAtOnce, [&](int64_t begin, int64_t end, int) {
    for (auto i = size_t(begin); i < size_t(end); ++i)
      for (int64_t k = 0; k < pieces[i].count; ++k)
        if (pieces[i].isDouble)
          static_cast<double *>(pieces[i].memory)[k] += static_cast<const double *>(others[i].memory)[k];
        else
          static_cast<float *>(pieces[i].memory)[k] += static_cast<const float *>(others[i].memory)[k];
  });
  return Status::ok();
}

} // namespace pg::rt
