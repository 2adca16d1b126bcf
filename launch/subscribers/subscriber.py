"""A subscriber in one file: docs/protocol.md with pyzmq, msgpack and numpy, and nothing of roadcast itself.

    python subscriber.py tcp://127.0.0.1:5600 [--stream front] [--save FOLDER] [--timeout SECONDS]

--save writes each decoded map as its bytes, little-endian, row by row: SESSION-FRAME.labels.u1, .ids.u2, .mask-ID.u1.
Exit codes: 0 the stream ended, or Ctrl-C; 2 wrong arguments; 3 silence, or a message that breaks the protocol.
"""

import argparse
import io
import time
import zlib
from collections import Counter, deque
from pathlib import Path

import msgpack
import numpy as np
import zmq

MAX_HEADER, MAX_PART, MAX_SIDE = 2**20, 64 * 2**20, 8192
BOOT = Path("/proc/sys/kernel/random/boot_id")  # of this host; Linux only


def need(condition, otherwise):
    if not condition:
        raise ValueError(otherwise)


def unpack(message):  # [topic, header, part...]; gives the header, and by name each part's description and bytes
    need(len(message) > 1 and len(message[1]) <= MAX_HEADER, "no header, or one of more than 1 MiB")
    # Skipping allocates nothing and proves that every list and map is as long as it claims.
    msgpack.Unpacker(io.BytesIO(message[1]), max_buffer_size=MAX_HEADER).skip()
    header = msgpack.unpackb(message[1], strict_map_key=False)
    need(header["version"][0] == 1, f"it speaks protocol {header['version']}, this program 1.x")
    need(f"{header['stream']}/{header['kind']}/".encode() == message[0], "header and topic disagree")
    need([p["bytes"] for p in header["parts"]] == [len(p) for p in message[2:]], "header and parts disagree")
    return header, {part["name"]: (part, payload) for part, payload in zip(header["parts"], message[2:])}


def decode(part, payload, dtype, shape):
    """A part that must be an array of this type and shape. Sizes are compared before anything is allocated."""
    need((part["dtype"], part["shape"]) == (dtype, list(shape)), f"{part['name']} is not {dtype} {shape}")
    values, count, runs = np.dtype("<" + dtype), shape[0] * shape[1], part.get("runs", 0)
    need(min(shape) >= 0 and max(shape) <= MAX_SIDE and count * values.itemsize <= MAX_PART, f"{shape} is too large")
    need(part["codec"] in ("raw", "zlib", "rle", "rle+zlib") and 0 <= runs <= count, "no such codec, or too many runs")
    rle = part["codec"].startswith("rle")
    size = runs * (2 + values.itemsize) if rle else count * values.itemsize
    if part["codec"].endswith("zlib"):
        stream = zlib.decompressobj()
        payload = stream.decompress(payload, size + 1)
        need(stream.eof and not stream.unused_data, "the zlib stream has another length")
    need(len(payload) == size, f"{part['name']} has {len(payload)} bytes instead of {size}")
    if not rle:
        return np.frombuffer(payload, values).reshape(shape)
    lengths = np.frombuffer(payload, "<u2", runs)
    need(int(lengths.sum(dtype=np.int64)) == count, "the runs do not add up to the map")
    return np.repeat(np.frombuffer(payload, values, runs, 2 * runs), lengths).reshape(shape)


class Reader:  # what is known of one stream: its session, its class names, the last numbers of each kind
    def __init__(self, save):
        self.save, self.session, self.names, self.last = save, None, {}, {}
        self.counts, self.arrivals = Counter(frames=0, lost=0, dropped=0, restarts=0), deque(maxlen=31)
        self.boot = bytes.fromhex(BOOT.read_text()[:18].replace("-", "")) if BOOT.exists() else None

    def read(self, message):
        """Take in one message; True where it is the stream's last."""
        header, parts = unpack(message)
        kind, body = header["kind"], header.get(header["kind"])
        self.count(kind, header["seq"], header.get("frame", 0), header["session"])
        if kind == "meta":
            self.names = {entry["id"]: entry["name"] for entry in body["classes"]}
        elif kind == "event":
            print("event", body["name"])
        elif kind in ("labels", "objects"):
            local, times = header["boot"] == self.boot, header["time"]  # the monotonic clock is one of a host
            age = time.monotonic_ns() - times["captured_mono_ns"] if local else time.time_ns() - times["captured_ns"]
            print(f"{kind} frame {header['frame']}  seq {header['seq']}  {age / 1e6:.1f} ms ", end=" ")
            print(self.labels(header, parts) if kind == "labels" else self.objects(header, parts))
        return kind == "event" and body["name"] == "end_of_stream"

    def count(self, kind, seq, frame, session):  # a gap in seq is a loss on the way, one in frame alone a drop before
        if self.session not in (None, session):
            self.counts["restarts"] += 1
            self.last.clear()
            print(f"the node restarted: session {session.hex()[:8]}")
        last_seq, last_frame = self.last.get(kind, (seq - 1, frame - 1))
        self.session, self.last[kind] = session, (seq, frame)
        what, gap = ("lost", seq - last_seq - 1) if seq > last_seq + 1 else ("dropped", frame - last_frame - 1)
        if gap > 0 and (what == "lost" or kind == "labels"):
            self.counts[what] += gap
            print(f"{gap} {what} before {kind} {seq}")

    def labels(self, header, parts):
        labels = self.array(header, parts, "labels", "u1", header["size"][::-1])
        self.counts["frames"] += 1
        self.arrivals.append(time.monotonic())
        fps = (len(self.arrivals) - 1) / max(1e-9, self.arrivals[-1] - self.arrivals[0])
        shares = 100 * np.bincount(labels.reshape(-1), minlength=256) / max(1, labels.size)
        most = [k for k in np.argsort(-shares, kind="stable").tolist()[:5] if shares[k]]
        return f"{fps:.1f} fps  " + ", ".join(f"{self.names.get(k, k)} {shares[k]:.1f} %" for k in most)

    def objects(self, header, parts):
        if "ids" in parts:
            self.array(header, parts, "ids", "u2", header["size"][::-1])
        for x0, y0, x1, y1, number in ((*one["box"], one["id"]) for one in header["objects"]):
            need(0 <= x0 <= x1 <= header["size"][0] and 0 <= y0 <= y1 <= header["size"][1], "a box outside the map")
            if "ids" not in parts:  # the masks overlap, so each comes by itself
                self.array(header, parts, f"mask/{int(number)}", "u1", (y1 - y0, x1 - x0))
        counted = Counter(str(self.names.get(one["class_id"], one["class_id"])) for one in header["objects"])
        return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "none"

    def array(self, header, parts, name, dtype, shape):
        array = decode(*parts[name], dtype, shape)
        if self.save:
            run, frame = header["session"].hex()[:8], int(header["frame"])
            (self.save / f"{run}-{frame:06}.{name.replace('/', '-')}.{dtype}").write_bytes(array.tobytes())
        return array


def main():
    parser = argparse.ArgumentParser(description="Watch one stream of a roadcast node: a line per message.")
    parser.add_argument("endpoint", help="tcp://host:port or ipc://path")
    parser.add_argument("--stream", default="front", help="(default: front)")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="an existing one, for every decoded map")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="of silence (default: 10)")
    args = parser.parse_args()
    reader, socket = Reader(args.save), zmq.Context().socket(zmq.SUB)
    socket.linger, socket.rcvtimeo, socket.maxmsgsize = 0, int(args.timeout * 1000), MAX_PART + MAX_PART // 512
    socket.tcp_keepalive, socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 1, 10, 5, 4
    for kind in ("labels", "objects", "meta", "status", "event"):
        socket.subscribe(f"{args.stream}/{kind}/")
    try:
        socket.connect(args.endpoint)
        while not reader.read(socket.recv_multipart()):
            pass
    except KeyboardInterrupt:
        print("stopped")
    except zmq.Again:
        parser.exit(3, f"Nothing of {args.stream!r} came from {args.endpoint} in {args.timeout:g} s. Is it running?\n")
    except (zmq.ZMQError, OSError) as error:
        parser.error(f"{getattr(error, 'filename', None) or args.endpoint}: {error.strerror}")
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, msgpack.OutOfData, zlib.error) as error:
        parser.exit(3, f"A message breaks the protocol: {error or type(error).__name__}.\n")
    print(", ".join(f"{count} {name}" for name, count in reader.counts.items()))


if __name__ == "__main__":
    main()
