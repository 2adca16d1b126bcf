// A subscriber for C++ in one file: docs/protocol.md with libzmq, msgpack-cxx and zlib.
// Debian: apt-get install g++ libzmq3-dev libmsgpack-cxx-dev zlib1g-dev
//
//     g++ -std=c++17 -O2 -Wall -Wextra -DMSGPACK_NO_BOOST subscriber.cpp -o subscriber -lzmq -lz
//     ./subscriber tcp://127.0.0.1:5600 [--stream front] [--save FOLDER] [--timeout SECONDS]
//
// --save writes each decoded map as its bytes, little-endian, row by row: SESSION-FRAME.labels.u1, .ids.u2,
// .mask-ID.u1. Exit codes: 0 the stream ended, or Ctrl-C; 2 wrong arguments; 3 silence, or a message that breaks
// the protocol. For little-endian machines.

#include <msgpack.hpp>
#include <zlib.h>
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::string;
using Clock = std::chrono::steady_clock;  // on Linux the host's monotonic clock
using Fields = std::map<std::string, msgpack::object>;

constexpr size_t MAX_HEADER = 1 << 20, MAX_PART = 64 << 20, MAX_SIDE = 8192;
volatile std::sig_atomic_t stopped = 0;

void need(bool condition, const std::string& otherwise) {
  if (!condition) throw std::runtime_error(otherwise);
}

/// The value under a key. Throws where the key is missing; keys that nobody asks for are ignored.
template <typename T>
T get(const Fields& fields, const std::string& key) {
  const auto found = fields.find(key);
  need(found != fields.end(), "'" + key + "' is missing");
  try {
    return found->second.as<T>();
  } catch (const msgpack::type_error&) {
    throw std::runtime_error("'" + key + "' is of another type");
  }
}

/// Binary values as bytes; `as<std::string>` would take text as well.
Bytes binary(const Fields& fields, const std::string& key) {
  const auto bytes = get<msgpack::type::raw_ref>(fields, key);
  return Bytes(bytes.ptr, bytes.size);
}

std::string hex(const Bytes& bytes) {
  std::string text;
  char digits[3];
  for (unsigned char byte : bytes) text += (std::snprintf(digits, sizeof digits, "%02x", byte), digits);
  return text;
}

struct Part {
  Fields about;
  Bytes payload;
};

struct Message {
  msgpack::object_handle memory;  // what `header` points into
  Fields header;
  std::map<std::string, Part> parts;
  std::string kind;
};

/// The header of [topic, header, part...], and by name each part's description and bytes.
Message unpack(std::vector<Bytes> frames) {
  need(frames.size() > 1 && frames[1].size() <= MAX_HEADER, "no header, or one of more than 1 MiB");
  Message message;
  const msgpack::unpack_limit limit(65536, 1024, MAX_HEADER, MAX_HEADER, 0, 32);  // arrays, maps, ..., depth
  message.memory = msgpack::unpack(frames[1].data(), frames[1].size(), nullptr, nullptr, limit);
  message.header = message.memory->as<Fields>();
  const auto version = get<std::vector<unsigned>>(message.header, "version");
  need(version.size() == 2 && version[0] == 1, "it speaks another protocol than 1.x");
  message.kind = get<std::string>(message.header, "kind");
  const auto topic = get<std::string>(message.header, "stream") + "/" + message.kind + "/";
  need(topic == frames[0], "header and topic disagree");
  const auto parts = get<std::vector<Fields>>(message.header, "parts");
  need(parts.size() + 2 == frames.size(), "header and parts disagree");
  for (size_t k = 0; k < parts.size(); ++k) {
    need(get<size_t>(parts[k], "bytes") == frames[k + 2].size(), "header and parts disagree");
    message.parts[get<std::string>(parts[k], "name")] = {parts[k], std::move(frames[k + 2])};
  }
  return message;
}

Bytes inflated(const Bytes& payload, size_t size) {
  Bytes plain(size + 1, '\0');  // a byte more shows a stream that would go on
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
  stream.avail_in = static_cast<uInt>(payload.size());
  stream.next_out = reinterpret_cast<Bytef*>(plain.data());
  stream.avail_out = static_cast<uInt>(plain.size());
  need(inflateInit(&stream) == Z_OK, "zlib cannot start");
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = result == Z_STREAM_END && stream.avail_in == 0 && stream.total_out == size;
  inflateEnd(&stream);
  need(whole, "the zlib stream has another length");
  plain.resize(size);
  return plain;
}

/// A part that must be a map of this type and size. Sizes are compared before anything is allocated.
template <typename T>
std::vector<T> decode(const Message& message, const std::string& name, size_t height, size_t width) {
  const auto found = message.parts.find(name);
  need(found != message.parts.end(), name + " is missing");
  const auto& [about, payload] = found->second;
  const bool typed = get<std::string>(about, "dtype") == (sizeof(T) == 1 ? "u1" : "u2");
  need(typed && get<std::vector<size_t>>(about, "shape") == std::vector<size_t>{height, width}, name + " does not fit");
  need(height <= MAX_SIDE && width <= MAX_SIDE && height * width * sizeof(T) <= MAX_PART, name + " is too large");
  const auto codec = get<std::string>(about, "codec");
  const bool rle = codec == "rle" || codec == "rle+zlib", zipped = codec == "zlib" || codec == "rle+zlib";
  need(rle || zipped || codec == "raw", "codec " + codec + " is not for maps");
  const size_t count = height * width, runs = rle ? get<size_t>(about, "runs") : 0;
  need(runs <= count, "more runs than pixels");
  const size_t size = rle ? runs * (2 + sizeof(T)) : count * sizeof(T);
  const Bytes bytes = zipped ? inflated(payload, size) : payload;
  need(bytes.size() == size, name + " has another number of bytes");
  std::vector<T> pixels(rle ? 0 : count);
  if (!rle) {
    if (count) std::memcpy(pixels.data(), bytes.data(), size);
    return pixels;
  }
  std::vector<uint16_t> lengths(runs);
  std::vector<T> values(runs);
  if (runs) std::memcpy(lengths.data(), bytes.data(), 2 * runs);
  if (runs) std::memcpy(values.data(), bytes.data() + 2 * runs, sizeof(T) * runs);
  need(std::accumulate(lengths.begin(), lengths.end(), size_t{0}) == count, "the runs do not add up to the map");
  pixels.reserve(count);
  for (size_t run = 0; run < runs; ++run) pixels.insert(pixels.end(), lengths[run], values[run]);
  return pixels;
}

/// What is known of one stream: its session, its class names, the last numbers of each kind.
class Reader {
 public:
  explicit Reader(std::string save) : save_(std::move(save)) {
    std::string id;
    std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);  // of this host; Linux only
    id.erase(std::remove(id.begin(), id.end(), '-'), id.end());
    boot_ = id.substr(0, 16);
  }

  /// Take in one message; true where it is the stream's last.
  bool read(const Message& message) {
    const auto& header = message.header;
    count(message);
    if (message.kind == "meta") {
      names_.clear();
      for (const auto& entry : get<std::vector<Fields>>(get<Fields>(header, "meta"), "classes"))
        names_[get<unsigned>(entry, "id")] = get<std::string>(entry, "name");
    } else if (message.kind == "labels") {
      show(message, labels(message));
    } else if (message.kind == "objects") {
      show(message, objects(message));
    } else if (message.kind == "event") {
      const auto name = get<std::string>(get<Fields>(header, "event"), "name");
      std::printf("event %s\n", name.c_str());
      return name == "end_of_stream";
    }
    return false;
  }

  void summary() const {
    std::printf("%ld frames, %ld lost, %ld dropped, %ld restarts\n", frames_, lost_, dropped_, restarts_);
  }

 private:
  /// A gap in seq is a loss on the way, one in frame alone a drop inside the node.
  void count(const Message& message) {
    const auto session = hex(binary(message.header, "session"));
    const long seq = get<long>(message.header, "seq");
    const long frame = message.header.count("frame") ? get<long>(message.header, "frame") : 0;
    if (!session_.empty() && session != session_) {
      ++restarts_;
      last_.clear();
      std::printf("the node restarted: session %.8s\n", session.c_str());
    }
    session_ = session;
    const auto [entry, first] = last_.try_emplace(message.kind, seq, frame);
    const long lost = first ? 0 : seq - entry->second.first - 1, dropped = first ? 0 : frame - entry->second.second - 1;
    entry->second = {seq, frame};
    if (lost > 0) {
      lost_ += lost;
      std::printf("%ld lost before %s %ld\n", lost, message.kind.c_str(), seq);
    } else if (dropped > 0 && message.kind == "labels") {
      dropped_ += dropped;
      std::printf("%ld dropped before %s %ld\n", dropped, message.kind.c_str(), seq);
    }
  }

  std::string labels(const Message& message) {
    const auto [width, height] = size(message);
    const auto labels = decode<uint8_t>(message, "labels", height, width);
    keep(message, "labels.u1", labels);
    ++frames_;
    arrivals_.push_back(Clock::now());
    if (arrivals_.size() > 31) arrivals_.pop_front();
    const double span = std::chrono::duration<double>(arrivals_.back() - arrivals_.front()).count();
    std::vector<size_t> pixels(256), order(256);
    for (const auto label : labels) ++pixels[label];
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pixels[a] > pixels[b]; });
    char text[64];
    std::snprintf(text, sizeof text, "%.1f fps ", span > 0 ? (arrivals_.size() - 1) / span : 0.0);
    std::string line = text;
    for (size_t k = 0; k < 5 && pixels[order[k]]; ++k) {
      std::snprintf(text, sizeof text, " %.1f %%", 100.0 * pixels[order[k]] / labels.size());
      line += (k ? ", " : " ") + named(order[k]) + text;
    }
    return line;
  }

  std::string objects(const Message& message) {
    const auto [width, height] = size(message);
    const bool one_map = message.parts.count("ids") > 0;  // else masks overlap, and each comes by itself
    if (one_map) keep(message, "ids.u2", decode<uint16_t>(message, "ids", height, width));
    std::map<std::string, int> counted;
    for (const auto& object : get<std::vector<Fields>>(message.header, "objects")) {
      const auto id = std::to_string(get<unsigned>(object, "id"));
      const auto box = get<std::vector<size_t>>(object, "box");
      const bool inside = box.size() == 4 && box[0] <= box[2] && box[2] <= width && box[1] <= box[3] && box[3] <= height;
      need(inside, "a box outside the map");
      if (!one_map)
        keep(message, "mask-" + id + ".u1", decode<uint8_t>(message, "mask/" + id, box[3] - box[1], box[2] - box[0]));
      ++counted[named(get<unsigned>(object, "class_id"))];
    }
    std::string line;
    for (const auto& [name, number] : counted)
      line += (line.empty() ? "" : ", ") + std::to_string(number) + " " + name;
    return line.empty() ? "none" : line;
  }

  std::pair<size_t, size_t> size(const Message& message) const {
    const auto size = get<std::vector<size_t>>(message.header, "size");
    need(size.size() == 2, "a size is width and height");
    return {size[0], size[1]};
  }

  std::string named(unsigned id) const {
    const auto found = names_.find(id);
    return found == names_.end() ? std::to_string(id) : found->second;
  }

  void show(const Message& message, const std::string& text) const {
    const auto& header = message.header;
    const auto time = get<Fields>(header, "time");
    using namespace std::chrono;
    const bool local = hex(binary(header, "boot")) == boot_;  // then both read the same monotonic clock
    const long now_ns = local ? duration_cast<nanoseconds>(Clock::now().time_since_epoch()).count()
                              : duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
    const double age_ms = (now_ns - get<long>(time, local ? "captured_mono_ns" : "captured_ns")) / 1e6;
    std::printf("%s frame %ld  seq %ld  %.1f ms  %s\n", message.kind.c_str(), get<long>(header, "frame"),
                get<long>(header, "seq"), age_ms, text.c_str());
  }

  template <typename T>
  void keep(const Message& message, const std::string& name, const std::vector<T>& pixels) const {
    if (save_.empty()) return;
    char start[64];
    std::snprintf(start, sizeof start, "%.8s-%06ld.", session_.c_str(), get<long>(message.header, "frame"));
    std::ofstream file(std::filesystem::path(save_) / (start + name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size() * sizeof(T)));
    if (!file.flush()) throw std::ios_base::failure("cannot write " + name);
  }

  std::string save_, session_, boot_;
  std::map<unsigned, std::string> names_;
  std::map<std::string, std::pair<long, long>> last_;  // seq and frame by kind
  std::deque<Clock::time_point> arrivals_;
  long frames_ = 0, lost_ = 0, dropped_ = 0, restarts_ = 0;
};

/// All parts of the next message; empty where none came in time or a signal did.
std::vector<Bytes> receive(void* socket) {
  std::vector<Bytes> frames;
  for (int more = 1; more;) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket, 0) < 0) return {};
    frames.emplace_back(static_cast<char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
    more = zmq_msg_more(&part);
    zmq_msg_close(&part);
  }
  return frames;
}

int leave(int code, const std::string& why) {
  std::fprintf(stderr, "subscriber: %s\n", why.c_str());
  return code;
}

int main(int count, char** words) {
  std::string endpoint;
  std::map<std::string, std::string> flags{{"--stream", "front"}, {"--save", ""}, {"--timeout", "10"}};
  for (int k = 1; k < count; ++k) {
    if (flags.count(words[k]) && k + 1 < count) {
      flags[words[k]] = words[k + 1];
      ++k;
    } else if (endpoint.empty() && words[k][0] != '-') {
      endpoint = words[k];
    } else {
      return leave(2, std::string("what is ") + words[k] + "? Usage: subscriber ENDPOINT [--stream front] " +
                          "[--save FOLDER] [--timeout SECONDS]");
    }
  }
  const double timeout = std::atof(flags["--timeout"].c_str());
  if (endpoint.empty() || timeout <= 0) return leave(2, "an endpoint and a time are needed, see the top of the source");
  if (!flags["--save"].empty() && !std::filesystem::is_directory(flags["--save"]))
    return leave(2, "there is no folder " + flags["--save"]);

  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_SUB);
  for (const auto& [option, value] : std::map<int, int>{{ZMQ_LINGER, 0},
                                                        {ZMQ_RCVTIMEO, static_cast<int>(timeout * 1000)},
                                                        {ZMQ_TCP_KEEPALIVE, 1},
                                                        {ZMQ_TCP_KEEPALIVE_IDLE, 10},
                                                        {ZMQ_TCP_KEEPALIVE_INTVL, 5},
                                                        {ZMQ_TCP_KEEPALIVE_CNT, 4}})
    zmq_setsockopt(socket, option, &value, sizeof value);
  const int64_t largest = MAX_PART + MAX_PART / 512;
  zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
  for (const std::string kind : {"labels", "objects", "meta", "status", "event"}) {
    const auto prefix = flags["--stream"] + "/" + kind + "/";
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, prefix.data(), prefix.size());
  }
  if (zmq_connect(socket, endpoint.c_str()) < 0) return leave(2, endpoint + ": " + zmq_strerror(zmq_errno()));
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a line at a time, also into a pipe
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  for (int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);

  Reader reader(flags["--save"]);
  try {
    for (bool ended = false; !ended && !stopped;) {
      auto frames = receive(socket);
      if (!frames.empty())
        ended = reader.read(unpack(std::move(frames)));
      else if (!stopped && zmq_errno() == EAGAIN)
        return leave(3, "nothing of " + flags["--stream"] + " came from " + endpoint + " in " + flags["--timeout"] +
                            " s. Is it running?");
    }
  } catch (const std::ios_base::failure& error) {
    return leave(3, error.what());
  } catch (const std::exception& error) {
    return leave(3, std::string("a message breaks the protocol: ") + error.what());
  }
  if (stopped) std::puts("stopped");
  reader.summary();
  zmq_close(socket);
  zmq_ctx_term(context);
}
