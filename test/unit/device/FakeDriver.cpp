//===- FakeDriver.cpp - a CUDA driver that records, and runs host code late ------===//
//
// A shared object with the driver's three entry points, opened by the real
// loader through PG_CUDA_DRIVER. Device memory is host memory. A module is a host
// shared object: of emulated kernels (test/emulator: compileKernels), of plain
// functions `fake_grid_NAME` that run a whole grid, or bytes that are no library,
// whose launches are only recorded. Queued work runs as late as the interface
// allows: when somebody waits, and no further than to what is waited for. So a
// caller that reuses memory too early computes rubbish. A stream may be made eager
// instead: its work runs as early as the events it waits for allow.
//
// Set through the environment, read at every call: FAKE_CUDA_INIT (result of
// cuInit), _VERSION, _DEVICES, _CAPABILITY ("90"), _MEMORY (bytes), _FAIL
// ("cuLaunchKernel:3:700": the third call from now on gives 700), _ORDER (0 to 4:
// the emulator's orders of threads; 5 to 9: the same with late copies), _EAGER (the
// eager stream, counted from 0 since its context was opened), _SKIP
// ("cuStreamWaitEvent:1": waits of stream 1 succeed and do nothing;
// "cuEventSynchronize:1": the host's waits for events of stream 1; "a wait in a
// capture:2": those of stream 2 while a graph is made).
//
//===----------------------------------------------------------------------===//
#include "test/emulator/Emulator.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <elf.h>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

using Launcher = void (*)(void **parameters, unsigned blocks, unsigned threads);

struct FakeModule {
  void *library = nullptr;
  std::unique_ptr<pg::emulator::Kernels> emulated;
};
struct FakeFunction {
  std::string name;
  Launcher run = nullptr;
  const pg::emulator::Kernels *emulated = nullptr;
  const unsigned *sizes = nullptr;
};
using Work = std::function<void()>;
/// A node comes after others, by number.
struct FakeNode {
  Work work;
  std::vector<size_t> after;
};
struct FakeGraph {
  std::vector<FakeNode> nodes;
};
struct FakeStream;
/// A graph in the making, by the stream that began and those that joined it.
struct FakeCapture {
  FakeGraph graph;
  FakeStream *origin;
  std::set<FakeStream *> streams;
};
/// Done is the number of the last record that the stream has come to. In a
/// capture it stands for the nodes before it instead.
struct FakeEvent {
  FakeStream *stream = nullptr;
  int64_t recorded = 0, done = 0;
  FakeCapture *capture = nullptr;
  std::vector<size_t> nodes;
};
/// Something to do, or an event to wait for.
struct Queued {
  Work work;
  FakeEvent *event = nullptr;
  int64_t record = 0;
};
struct FakeStream {
  int number = 0;
  std::deque<Queued> queue;
  FakeCapture *capture = nullptr;
  std::vector<size_t> latest; ///< nodes that its next one comes after
};

std::vector<std::string> journal;
std::map<std::string, std::unique_ptr<FakeFunction>> functions;
std::map<uintptr_t, size_t> memory;
std::set<FakeStream *> streams;
std::set<FakeEvent *> events;
int nextStream = 0;
size_t usedBytes = 0;
std::map<std::string, int> calls;
bool isBroken = false;

int numberOf(const char *variable, int otherwise) {
  const char *text = std::getenv(variable);
  return text && *text ? std::atoi(text) : otherwise;
}
size_t memoryBytes() {
  const char *text = std::getenv("FAKE_CUDA_MEMORY");
  return text && *text ? size_t(std::strtoull(text, nullptr, 10)) : size_t(1) << 34;
}

/// The planted failure of this call, or 0.
int failure(const char *name) {
  int count = ++calls[name];
  const char *text = std::getenv("FAKE_CUDA_FAIL");
  if (!text)
    return 0;
  std::string wanted(text);
  size_t first = wanted.find(':'), second = wanted.find(':', first + 1);
  if (wanted.substr(0, first) != name || count < std::atoi(wanted.c_str() + first + 1))
    return 0;
  return std::atoi(wanted.c_str() + second + 1);
}
#define FAIL_IF_PLANTED(name)                                                                                          \
  if (int planted = failure(name))                                                                                     \
  return planted

void note(const std::string &line) { journal.push_back(line); }

void runUntil(FakeEvent *event, int64_t record);
void runNext(FakeStream *stream) {
  Queued next = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (next.event)
    runUntil(next.event, next.record);
  else
    next.work();
}
void runUntil(FakeEvent *event, int64_t record) {
  while (event->done < record && !event->stream->queue.empty())
    runNext(event->stream);
}
void drain(FakeStream *stream) {
  while (!stream->queue.empty())
    runNext(stream);
}
/// What an eager stream can do without anybody's help.
void runEager() {
  int eager = numberOf("FAKE_CUDA_EAGER", -1);
  for (FakeStream *stream : streams)
    while (stream->number == eager && !stream->queue.empty() &&
           (!stream->queue.front().event || stream->queue.front().event->done >= stream->queue.front().record))
      runNext(stream);
}
void enqueue(FakeStream *stream, Work work) {
  if (stream->capture) {
    std::vector<FakeNode> &nodes = stream->capture->graph.nodes;
    nodes.push_back({std::move(work), stream->latest});
    stream->latest = {nodes.size() - 1};
    return;
  }
  stream->queue.push_back({std::move(work)});
  runEager();
}
/// Whether FAKE_CUDA_SKIP names this call for this stream.
bool isSkipped(const char *name, const FakeStream *stream) {
  const char *text = std::getenv("FAKE_CUDA_SKIP");
  return text && stream && name + (":" + std::to_string(stream->number)) == text;
}
std::string onStream(const FakeStream *stream) {
  return stream->number ? " on stream " + std::to_string(stream->number) : "";
}

int getErrorName(int result, const char **text) {
  *text = result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR";
  return 0;
}
int getErrorString(int result, const char **text) {
  *text = result == 2 ? "out of memory" : result == 700 ? "an illegal memory access was encountered" : "an error";
  return 0;
}
int deviceGetCount(int *count) {
  *count = numberOf("FAKE_CUDA_DEVICES", 1);
  return 0;
}
int deviceGet(int *device, int ordinal) {
  *device = ordinal;
  return 0;
}
int deviceGetName(char *name, int length, int device) {
  std::snprintf(name, size_t(length), "Fake GPU %d", device);
  return 0;
}
int deviceGetAttribute(int *value, int attribute, int) {
  int capability = numberOf("FAKE_CUDA_CAPABILITY", 90);
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : attribute == 97 ? 232448 : 132;
  return 0;
}
int deviceTotalMem(size_t *bytes, int) {
  *bytes = memoryBytes();
  return 0;
}
int primaryContextRetain(void **context, int) {
  static int object;
  nextStream = 0;
  *context = &object;
  return 0;
}
int primaryContextRelease(int) { return 0; }
int contextSetCurrent(void *) { return 0; }
int memGetInfo(size_t *free, size_t *total) {
  *total = memoryBytes();
  *free = *total - usedBytes;
  return 0;
}
int memAlloc(unsigned long long *address, size_t bytes) {
  FAIL_IF_PLANTED("cuMemAlloc");
  if (usedBytes + bytes > memoryBytes())
    return 2;
  void *block = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(block, 0xa5, bytes); // nobody may count on zeros
  memory[uintptr_t(block)] = bytes;
  usedBytes += bytes;
  *address = uintptr_t(block);
  return 0;
}
int memFree(unsigned long long address) {
  auto found = memory.find(uintptr_t(address));
  if (found == memory.end())
    return 1;
  usedBytes -= found->second;
  memory.erase(found);
  std::free(reinterpret_cast<void *>(uintptr_t(address)));
  return 0;
}
int hostAlloc(void **block, size_t bytes, unsigned) {
  FAIL_IF_PLANTED("cuMemHostAlloc");
  *block = std::malloc(bytes);
  return 0;
}
int hostFree(void *block) {
  std::free(block);
  return 0;
}
/// 1 (invalid value) when [address, address + bytes) is not device memory.
bool isDevice(unsigned long long address, size_t bytes) {
  auto found = memory.upper_bound(uintptr_t(address));
  if (found == memory.begin())
    return false;
  --found;
  return address + bytes <= found->first + found->second;
}
int copyToDevice(unsigned long long to, const void *from, size_t bytes, FakeStream *stream) {
  FAIL_IF_PLANTED("cuMemcpyHtoDAsync");
  if (!isDevice(to, bytes))
    return 1;
  note("copy to device " + std::to_string(bytes) + onStream(stream));
  enqueue(stream, [=] { std::memcpy(reinterpret_cast<void *>(uintptr_t(to)), from, bytes); });
  return 0;
}
int copyToHost(void *to, unsigned long long from, size_t bytes, FakeStream *stream) {
  FAIL_IF_PLANTED("cuMemcpyDtoHAsync");
  if (!isDevice(from, bytes))
    return 1;
  note("copy to host " + std::to_string(bytes));
  enqueue(stream, [=] { std::memcpy(to, reinterpret_cast<void *>(uintptr_t(from)), bytes); });
  return 0;
}
int copyInside(unsigned long long to, unsigned long long from, size_t bytes, FakeStream *stream) {
  if (!isDevice(from, bytes) || !isDevice(to, bytes))
    return 1;
  note("copy inside " + std::to_string(bytes) + onStream(stream));
  enqueue(stream, [=] {
    std::memcpy(reinterpret_cast<void *>(uintptr_t(to)), reinterpret_cast<void *>(uintptr_t(from)), bytes);
  });
  return 0;
}
int fill(unsigned long long to, unsigned char byte, size_t bytes, FakeStream *stream) {
  if (!isDevice(to, bytes))
    return 1;
  note("fill " + std::to_string(bytes));
  enqueue(stream, [=] { std::memset(reinterpret_cast<void *>(uintptr_t(to)), byte, bytes); });
  return 0;
}
int streamCreate(FakeStream **stream, unsigned) {
  FAIL_IF_PLANTED("cuStreamCreate");
  *stream = new FakeStream;
  (*stream)->number = nextStream++;
  streams.insert(*stream);
  return 0;
}
int streamDestroy(FakeStream *stream) {
  drain(stream);
  streams.erase(stream);
  delete stream;
  return 0;
}
int streamWaitEvent(FakeStream *stream, FakeEvent *event, unsigned) {
  FAIL_IF_PLANTED("cuStreamWaitEvent");
  if (event->capture) {
    if (stream->capture && isSkipped("a wait in a capture", stream))
      return 0;
    if (stream->capture && stream->capture != event->capture)
      return 900;
    stream->capture = event->capture;
    event->capture->streams.insert(stream);
    stream->latest.insert(stream->latest.end(), event->nodes.begin(), event->nodes.end());
    return 0;
  }
  if (stream->capture)
    return 900; // an event from outside
  if (event->recorded == 0 || isSkipped("cuStreamWaitEvent", stream))
    return 0;
  note("stream " + std::to_string(stream->number) + " waits for stream " + std::to_string(event->stream->number));
  stream->queue.push_back({{}, event, event->recorded});
  runEager();
  return 0;
}
int streamSynchronize(FakeStream *stream) {
  FAIL_IF_PLANTED("cuStreamSynchronize");
  drain(stream);
  return isBroken ? 700 : 0;
}
int streamBeginCapture(FakeStream *stream, unsigned) {
  note("begin capture");
  stream->capture = new FakeCapture{{}, stream, {stream}};
  stream->latest.clear();
  return 0;
}
int streamEndCapture(FakeStream *stream, FakeGraph **graph) {
  FakeCapture *capture = stream->capture;
  // Whatever was captured must come before the end of the stream that began.
  std::set<size_t> reached;
  std::vector<size_t> open = stream->latest;
  while (!open.empty()) {
    size_t node = open.back();
    open.pop_back();
    if (reached.insert(node).second)
      for (size_t before : capture->graph.nodes[node].after)
        open.push_back(before);
  }
  bool isJoined = reached.size() == capture->graph.nodes.size();
  note("end capture " + std::to_string(capture->graph.nodes.size()) +
       (capture->streams.size() > 1 ? " of " + std::to_string(capture->streams.size()) + " streams" : ""));
  *graph = isJoined ? new FakeGraph(std::move(capture->graph)) : nullptr;
  for (FakeEvent *event : events)
    if (event->capture == capture)
      event->capture = nullptr;
  for (FakeStream *joined : capture->streams) {
    joined->capture = nullptr;
    joined->latest.clear();
  }
  delete capture;
  return isJoined ? 0 : 904;
}
int graphInstantiate(FakeGraph **executable, FakeGraph *graph, unsigned long long) {
  FAIL_IF_PLANTED("cuGraphInstantiateWithFlags");
  *executable = new FakeGraph(*graph);
  return 0;
}
int graphLaunch(FakeGraph *graph, FakeStream *stream) {
  FAIL_IF_PLANTED("cuGraphLaunch");
  note("graph launch " + std::to_string(graph->nodes.size()));
  // Of the nodes that may run, always the last one: what has no order comes in
  // another one than it was launched in.
  std::vector<size_t> missing(graph->nodes.size());
  std::vector<std::vector<size_t>> followers(graph->nodes.size());
  std::set<size_t> ready;
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    missing[i] = graph->nodes[i].after.size();
    for (size_t before : graph->nodes[i].after)
      followers[before].push_back(i);
    if (missing[i] == 0)
      ready.insert(i);
  }
  while (!ready.empty()) {
    size_t next = *ready.rbegin();
    ready.erase(next);
    enqueue(stream, graph->nodes[next].work);
    for (size_t follower : followers[next])
      if (--missing[follower] == 0)
        ready.insert(follower);
  }
  return 0;
}
int graphDestroy(FakeGraph *graph) {
  delete graph;
  return 0;
}
int graphExecDestroy(FakeGraph *graph) {
  delete graph;
  return 0;
}
int eventCreate(FakeEvent **event, unsigned) {
  *event = new FakeEvent;
  events.insert(*event);
  return 0;
}
int eventDestroy(FakeEvent *event) {
  events.erase(event);
  delete event;
  return 0;
}
int eventRecord(FakeEvent *event, FakeStream *stream) {
  event->stream = stream;
  event->capture = stream->capture;
  event->nodes = stream->latest;
  if (stream->capture)
    return 0;
  int64_t record = ++event->recorded;
  enqueue(stream, [event, record] { event->done = record; });
  return 0;
}
int eventSynchronize(FakeEvent *event) {
  FAIL_IF_PLANTED("cuEventSynchronize");
  if (!isSkipped("cuEventSynchronize", event->stream))
    runUntil(event, event->recorded);
  return isBroken ? 700 : 0;
}
int eventElapsedTime(float *milliseconds, FakeEvent *, FakeEvent *) {
  *milliseconds = 0.5f;
  return 0;
}

/// Bytes of an ELF file whose section table is at its end; 0 for other bytes.
size_t elfBytes(const void *image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, 4);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return 0;
  std::memcpy(&header, image, sizeof header);
  return header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
}
/// PTX is compiled for its own architecture and newer ones, to the library that its first line names.
int compilePtx(FakeModule &module, const std::string &text) {
  size_t target = text.find(".target sm_");
  int arch = target == std::string::npos ? 0 : std::atoi(text.c_str() + target + 11);
  note("compile PTX of sm_" + std::to_string(arch));
  const std::string mark = "// kernels ";
  if (arch == 0 || text.compare(0, mark.size(), mark) != 0)
    return 218;
  if (arch > numberOf("FAKE_CUDA_CAPABILITY", 90))
    return 209;
  std::string path = text.substr(mark.size(), text.find('\n') - mark.size());
  module.library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return module.library ? 0 : 218;
}
int moduleLoadData(FakeModule **module, const void *image) {
  FAIL_IF_PLANTED("cuModuleLoadData");
  auto made = std::make_unique<FakeModule>();
  if (std::strncmp(static_cast<const char *>(image), "//", 2) == 0)
    if (int result = compilePtx(*made, static_cast<const char *>(image)))
      return result;
  if (size_t bytes = elfBytes(image)) {
    // A package may hold one library many times over; its file stays, and loading it again costs nothing.
    static std::string lastImage, lastPath;
    if (lastImage != std::string_view(static_cast<const char *>(image), bytes)) {
      int file = ::memfd_create("module", MFD_CLOEXEC);
      if (::write(file, image, bytes) != ssize_t(bytes))
        return 200;
      lastImage.assign(static_cast<const char *>(image), bytes);
      lastPath = "/proc/self/fd/" + std::to_string(file);
    }
    made->library = ::dlopen(lastPath.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!made->library) {
      std::fprintf(stderr, "fake driver: %s\n", ::dlerror());
      return 200;
    }
    if (::dlsym(made->library, "pg_emulator"))
      made->emulated = std::make_unique<pg::emulator::Kernels>(made->library);
  }
  *module = made.release();
  return 0;
}
int moduleUnload(FakeModule *module) {
  if (module->library)
    ::dlclose(module->library);
  delete module;
  return 0;
}
int moduleGetFunction(FakeFunction **function, FakeModule *module, const char *name) {
  FAIL_IF_PLANTED("cuModuleGetFunction");
  auto made = std::make_unique<FakeFunction>();
  made->name = name;
  if (module->library) {
    made->run = reinterpret_cast<Launcher>(::dlsym(module->library, (std::string("fake_grid_") + name).c_str()));
    made->emulated = module->emulated.get();
    auto sizes = reinterpret_cast<const unsigned *(*)()>(
        ::dlsym(module->library, (std::string("pg_sizes_") + name).c_str()));
    if (!sizes || (!made->run && !made->emulated))
      return 500;
    made->sizes = sizes();
  }
  *function = made.get();
  functions[std::string(name) + "@" + std::to_string(uintptr_t(made.get()))] = std::move(made);
  return 0;
}
int functionSetAttribute(FakeFunction *function, int attribute, int value) {
  note("attribute " + std::to_string(attribute) + " of " + function->name + " = " + std::to_string(value));
  return 0;
}
/// A fault of an emulated kernel fails everything after it, as on a GPU.
void emulate(const FakeFunction &function, const pg::emulator::Launch &launch) {
  static const std::vector<pg::emulator::Schedule> schedules = pg::emulator::everySchedule();
  auto &schedule = schedules[size_t(numberOf("FAKE_CUDA_ORDER", 0)) % schedules.size()];
  std::string problem = function.emulated->run(function.name, launch, schedule);
  if (problem.empty())
    return;
  std::fprintf(stderr, "fake driver: %s: %s\n", function.name.c_str(), problem.c_str());
  isBroken = true;
}

int launchKernel(FakeFunction *function, unsigned gridX, unsigned, unsigned, unsigned blockX, unsigned, unsigned,
                 unsigned sharedBytes, FakeStream *stream, void **parameters, void **) {
  FAIL_IF_PLANTED("cuLaunchKernel");
  note("launch " + function->name + " " + std::to_string(gridX) + "x" + std::to_string(blockX) +
       (sharedBytes ? " shared " + std::to_string(sharedBytes) : ""));
  if (!function->sizes) {
    enqueue(stream, [] {});
    return 0;
  }
  // Arguments are copied now, whatever the caller does with them later.
  std::vector<std::vector<char>> values;
  for (size_t i = 0; function->sizes[i]; ++i) {
    auto *from = static_cast<const char *>(parameters[i]);
    values.emplace_back(from, from + function->sizes[i]);
  }
  enqueue(stream, [=]() mutable {
    std::vector<void *> pointers;
    for (std::vector<char> &value : values)
      pointers.push_back(value.data());
    if (function->run)
      function->run(pointers.data(), gridX, blockX);
    else
      emulate(*function, {int64_t(gridX), int(blockX), int64_t(sharedBytes), pointers.data()});
  });
  return 0;
}

const std::pair<const char *, void *> kTable[] = {
#define ENTRY(name, function) {name, reinterpret_cast<void *>(function)}
    ENTRY("cuGetErrorName", getErrorName),
    ENTRY("cuGetErrorString", getErrorString),
    ENTRY("cuDeviceGetCount", deviceGetCount),
    ENTRY("cuDeviceGet", deviceGet),
    ENTRY("cuDeviceGetName", deviceGetName),
    ENTRY("cuDeviceGetAttribute", deviceGetAttribute),
    ENTRY("cuDeviceTotalMem", deviceTotalMem),
    ENTRY("cuDevicePrimaryCtxRetain", primaryContextRetain),
    ENTRY("cuDevicePrimaryCtxRelease", primaryContextRelease),
    ENTRY("cuCtxSetCurrent", contextSetCurrent),
    ENTRY("cuMemGetInfo", memGetInfo),
    ENTRY("cuMemAlloc", memAlloc),
    ENTRY("cuMemFree", memFree),
    ENTRY("cuMemHostAlloc", hostAlloc),
    ENTRY("cuMemFreeHost", hostFree),
    ENTRY("cuMemcpyHtoDAsync", copyToDevice),
    ENTRY("cuMemcpyDtoHAsync", copyToHost),
    ENTRY("cuMemcpyDtoDAsync", copyInside),
    ENTRY("cuMemsetD8Async", fill),
    ENTRY("cuStreamCreate", streamCreate),
    ENTRY("cuStreamDestroy", streamDestroy),
    ENTRY("cuStreamSynchronize", streamSynchronize),
    ENTRY("cuStreamWaitEvent", streamWaitEvent),
    ENTRY("cuStreamBeginCapture", streamBeginCapture),
    ENTRY("cuStreamEndCapture", streamEndCapture),
    ENTRY("cuGraphInstantiateWithFlags", graphInstantiate),
    ENTRY("cuGraphLaunch", graphLaunch),
    ENTRY("cuGraphDestroy", graphDestroy),
    ENTRY("cuGraphExecDestroy", graphExecDestroy),
    ENTRY("cuEventCreate", eventCreate),
    ENTRY("cuEventDestroy", eventDestroy),
    ENTRY("cuEventRecord", eventRecord),
    ENTRY("cuEventSynchronize", eventSynchronize),
    ENTRY("cuEventElapsedTime", eventElapsedTime),
    ENTRY("cuModuleLoadData", moduleLoadData),
    ENTRY("cuModuleUnload", moduleUnload),
    ENTRY("cuModuleGetFunction", moduleGetFunction),
    ENTRY("cuFuncSetAttribute", functionSetAttribute),
    ENTRY("cuLaunchKernel", launchKernel),
#undef ENTRY
};

} // namespace

extern "C" {

int cuInit(unsigned) { return numberOf("FAKE_CUDA_INIT", 0); }
int cuDriverGetVersion(int *version) {
  *version = numberOf("FAKE_CUDA_VERSION", 13000);
  return 0;
}
int cuGetProcAddress_v2(const char *name, void **function, int, unsigned long long, int *) {
  *function = nullptr;
  const char *lacking = std::getenv("FAKE_CUDA_LACKS");
  for (const auto &[known, address] : kTable)
    if (std::strcmp(known, name) == 0 && !(lacking && std::strcmp(lacking, name) == 0))
      *function = address;
  return *function ? 0 : 500;
}

/// For other fake libraries: a line in the journal, work on a stream.
void fakeNote(const char *line) { note(line); }
void fakeEnqueue(void *stream, void (*run)(void *), void *argument) {
  enqueue(static_cast<FakeStream *>(stream), [=] { run(argument); });
}
/// The journal since the last call, one line per event.
const char *fakeJournal() {
  static std::string text;
  text.clear();
  for (const std::string &line : journal)
    text += line + "\n";
  journal.clear();
  return text.c_str();
}
/// Forgets how often each function was called, for FAKE_CUDA_FAIL.
void fakeResetCalls() { calls.clear(); }
/// Device memory not given back.
size_t fakeUsedBytes() { return usedBytes; }

} // extern "C"
