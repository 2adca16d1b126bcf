// A subscriber for Node.js in one file: docs/protocol.md with zeromq and @msgpack/msgpack.
//
//     npm ci --ignore-scripts        (zeromq brings its library built; no compiler is needed)
//     node subscriber.js tcp://127.0.0.1:5600 [--stream front] [--save FOLDER] [--timeout SECONDS]
//
// --save writes each decoded map as its bytes, little-endian, row by row: SESSION-FRAME.labels.u1, .ids.u2,
// .mask-ID.u1. Exit codes: 0 the stream ended, or Ctrl-C; 2 wrong arguments; 3 silence, or a message that breaks
// the protocol.

import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { endianness } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { inflateSync } from "node:zlib"

import { decode as unpackMap } from "@msgpack/msgpack"
import { Subscriber } from "zeromq"

const MAX_HEADER = 2 ** 20
const MAX_PART = 64 * 2 ** 20
const MAX_SIDE = 8192
const SIZES = { u1: 1, u2: 2 }
// Nanoseconds since 1970 exceed what a double holds, so 64-bit integers become BigInt.
const LIMITS = { useBigInt64: true, maxArrayLength: 65536, maxMapLength: 1024, maxExtLength: 0 }
const BOOT = "/proc/sys/kernel/random/boot_id" // of this host; Linux only

class Broken extends Error {}

function need(condition, otherwise) {
  if (!condition) throw new Broken(otherwise)
}

/** The header of [topic, header, part...], and by name each part's description and bytes. */
function unpack(message) {
  need(message.length > 1 && message[1].length <= MAX_HEADER, "no header, or one of more than 1 MiB")
  const header = unpackMap(message[1], LIMITS)
  need(header.version[0] === 1, `it speaks protocol ${header.version}, this program 1.x`)
  need(`${header.stream}/${header.kind}/` === message[0].toString("latin1"), "header and topic disagree")
  const payloads = message.slice(2)
  need(header.parts.length === payloads.length, "header and parts disagree")
  need(header.parts.every((part, k) => part.bytes === payloads[k].length), "header and parts disagree")
  return [header, new Map(header.parts.map((part, k) => [part.name, [part, payloads[k]]]))]
}

/** A part that must be a map of this type and size. Sizes are compared before anything is allocated. */
function decode([part, payload], dtype, [height, width]) {
  const [rows, columns] = part.shape
  const fits = part.dtype === dtype && part.shape.length === 2 && rows === height && columns === width
  need(fits, `${part.name} is not ${dtype} ${height} x ${width}`)
  need([height, width].every((n) => Number.isInteger(n) && n >= 0 && n <= MAX_SIDE), `${height} x ${width} is too large`)
  const itemSize = SIZES[dtype]
  const count = height * width
  need(count * itemSize <= MAX_PART, `${height} x ${width} is too large`)
  need(["raw", "zlib", "rle", "rle+zlib"].includes(part.codec), `codec ${part.codec} is not for maps`)
  const rle = part.codec.startsWith("rle")
  need(!rle || (Number.isInteger(part.runs) && part.runs >= 0 && part.runs <= count), "more runs than pixels")
  const size = rle ? part.runs * (2 + itemSize) : count * itemSize
  const bytes = part.codec.endsWith("zlib") ? inflate(payload, size) : payload
  need(bytes.length === size, `${part.name} has ${bytes.length} bytes instead of ${size}`)
  return rle ? repeat(bytes, part.runs, count, dtype) : array(bytes, dtype)
}

function inflate(payload, size) {
  // A stream that stops early throws, one that would go on is stopped a byte later, and one with a tail uses less.
  const { buffer, engine } = inflateSync(payload, { maxOutputLength: size + 1, info: true })
  need(engine.bytesWritten === payload.length, "the zlib stream has another length")
  return buffer
}

function repeat(bytes, runs, count, dtype) {
  const lengths = array(bytes.subarray(0, 2 * runs), "u2")
  const values = array(bytes.subarray(2 * runs), dtype)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  need(total === count, "the runs do not add up to the map")
  const pixels = dtype === "u1" ? new Uint8Array(count) : new Uint16Array(count)
  for (let run = 0, at = 0; run < runs; at += lengths[run++]) pixels.fill(values[run], at, at + lengths[run])
  return pixels
}

/** Little-endian bytes as a typed array; copied, for a Uint16Array must begin at an even address. */
function array(bytes, dtype) {
  return dtype === "u1" ? new Uint8Array(bytes) : new Uint16Array(new Uint8Array(bytes).buffer)
}

/** What is known of one stream: its session, its class names, the last numbers of each kind. */
class Reader {
  names = new Map()
  counts = { frames: 0, lost: 0, dropped: 0, restarts: 0 }
  #last = new Map()
  #arrivals = []
  #session = null
  #boot = existsSync(BOOT) ? readFileSync(BOOT, "ascii").slice(0, 18).replaceAll("-", "") : null
  #save

  constructor(save) {
    this.#save = save
  }

  /** Take in one message; true where it is the stream's last. */
  read(message) {
    const [header, parts] = unpack(message)
    const body = header[header.kind]
    this.#count(header)
    if (header.kind === "meta") this.names = new Map(body.classes.map(({ id, name }) => [id, name]))
    if (header.kind === "event") console.log(`event ${body.name}`)
    if (header.kind === "labels") this.#show(header, this.#labels(header, parts))
    if (header.kind === "objects") this.#show(header, this.#objects(header, parts))
    return header.kind === "event" && body.name === "end_of_stream"
  }

  /** A gap in seq is a loss on the way, one in frame alone a drop inside the node. */
  #count({ kind, seq, frame = 0, session }) {
    const run = hex(session).slice(0, 8)
    if (this.#session !== null && this.#session !== hex(session)) {
      this.counts.restarts += 1
      this.#last.clear()
      console.log(`the node restarted: session ${run}`)
    }
    const last = this.#last.get(kind) ?? { seq: seq - 1, frame: frame - 1 }
    this.#session = hex(session)
    this.#last.set(kind, { seq, frame })
    const [what, gap] = seq > last.seq + 1 ? ["lost", seq - last.seq - 1] : ["dropped", frame - last.frame - 1]
    if (gap > 0 && (what === "lost" || kind === "labels")) {
      this.counts[what] += gap
      console.log(`${gap} ${what} before ${kind} ${seq}`)
    }
  }

  #labels(header, parts) {
    const [width, height] = header.size
    const labels = this.#array(header, parts, "labels", "u1", [height, width])
    this.counts.frames += 1
    this.#arrivals = [...this.#arrivals.slice(-30), performance.now()]
    const span = this.#arrivals.at(-1) - this.#arrivals[0]
    const pixels = new Array(256).fill(0)
    for (const label of labels) pixels[label] += 1
    const most = [...pixels.keys()].filter((k) => pixels[k]).sort((a, b) => pixels[b] - pixels[a])
    const share = (k) => `${this.names.get(k) ?? k} ${((100 * pixels[k]) / labels.length).toFixed(1)} %`
    const fps = span ? ((this.#arrivals.length - 1) * 1000) / span : 0
    return `${fps.toFixed(1)} fps  ${most.slice(0, 5).map(share).join(", ")}`
  }

  #objects(header, parts) {
    const [width, height] = header.size
    if (parts.has("ids")) this.#array(header, parts, "ids", "u2", [height, width])
    const counted = {}
    for (const { id, class_id, box: [x0, y0, x1, y1] } of header.objects) {
      need(0 <= x0 && x0 <= x1 && x1 <= width && 0 <= y0 && y0 <= y1 && y1 <= height, "a box outside the map")
      need(Number.isInteger(id), "an object without a number")
      // Where masks overlap, each comes by itself.
      if (!parts.has("ids")) this.#array(header, parts, `mask/${id}`, "u1", [y1 - y0, x1 - x0])
      const name = this.names.get(class_id) ?? class_id
      counted[name] = (counted[name] ?? 0) + 1
    }
    const names = Object.keys(counted).sort()
    return names.map((name) => `${counted[name]} ${name}`).join(", ") || "none"
  }

  #array(header, parts, name, dtype, shape) {
    const pixels = decode(parts.get(name), dtype, shape)
    if (this.#save) {
      need(Number.isInteger(header.frame), "a frame without a number")
      const frame = String(header.frame).padStart(6, "0")
      const file = `${hex(header.session).slice(0, 8)}-${frame}.${name.replace("/", "-")}.${dtype}`
      writeFileSync(join(this.#save, file), pixels)
    }
    return pixels
  }

  #show({ kind, frame, seq, boot, time }, text) {
    // On one host the monotonic clock is the better one; the Unix clock has milliseconds here.
    const age =
      hex(boot) === this.#boot
        ? process.hrtime.bigint() - BigInt(time.captured_mono_ns)
        : BigInt(Date.now()) * 1_000_000n - BigInt(time.captured_ns)
    console.log(`${kind} frame ${frame}  seq ${seq}  ${(Number(age) / 1e6).toFixed(1)} ms  ${text}`)
  }
}

function hex(bytes) {
  return Buffer.from(bytes).toString("hex")
}

function leave(code, why) {
  console.error(`subscriber.js: ${why}`)
  process.exit(code)
}

async function main() {
  const usage = "node subscriber.js ENDPOINT [--stream front] [--save FOLDER] [--timeout SECONDS]"
  const options = {
    stream: { type: "string", default: "front" },
    save: { type: "string" },
    timeout: { type: "string", default: "10" },
  }
  let endpoint, flags
  try {
    ;({ positionals: [endpoint], values: flags } = parseArgs({ options, allowPositionals: true }))
  } catch (error) {
    leave(2, `${error.message} Usage: ${usage}`)
  }
  const timeout = Number(flags.timeout)
  if (!endpoint || !(timeout > 0)) leave(2, `an endpoint and a time are needed. Usage: ${usage}`)
  if (flags.save && !existsSync(flags.save)) leave(2, `there is no folder ${flags.save}`)
  if (endianness() !== "LE") leave(2, "this program needs a little-endian machine")

  const socket = new Subscriber({
    linger: 0,
    receiveTimeout: timeout * 1000,
    maxMessageSize: MAX_PART + MAX_PART / 512,
    tcpKeepalive: 1,
    tcpKeepaliveIdle: 10,
    tcpKeepaliveInterval: 5,
    tcpKeepaliveCount: 4,
  })
  for (const kind of ["labels", "objects", "meta", "status", "event"]) socket.subscribe(`${flags.stream}/${kind}/`)
  try {
    socket.connect(endpoint)
  } catch (error) {
    leave(2, `${endpoint}: ${error.message}`)
  }
  const reader = new Reader(flags.save)
  let stopped = false
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      stopped = true
      socket.close()
    })
  }
  try {
    while (!stopped && !reader.read(await socket.receive()));
  } catch (error) {
    if (stopped) console.log("stopped")
    else if (error.code === "EAGAIN") leave(3, `nothing of ${flags.stream} came from ${endpoint} in ${timeout} s. Is it running?`)
    else leave(3, `a message breaks the protocol: ${error.message}`)
  }
  console.log(Object.entries(reader.counts).map(([name, count]) => `${count} ${name}`).join(", "))
}

await main()
