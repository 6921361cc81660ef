// The function's end of sst-live/1 in Lambda (docs/protocol.md): takes each event from the Runtime API, sends it to the
// developer's machine and posts the answer, byte for byte. One file without dependencies, Node 18 or later. Configured by
// SST_LIVE: {"url": relay, "function": id, "runtime", "timeout": of the function, "token": bearer token instead of SigV4,
// "key": the stage's public key, base64url: only a developer's end with a key signed by it is talked to, sealed}.
// Run as a program it is the runtime; `handler` is the lesser form for where that is not allowed.
// What is deployed is stub.min.mjs, made from this file by `go generate ./proxy`.
import http from "node:http"
import https from "node:https"
import {
  createCipheriv, createDecipheriv, createHash, createHmac, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, randomBytes, verify,
} from "node:crypto"
import { gzipSync, gunzipSync } from "node:zlib"
import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"

const VERSION = 1
const FRAME = 31000, MESSAGE = 7 << 20, GZIP_FROM = 2048, CHUNKS = 8192
const ACK_DELAY = 20, ACK_EVERY = 32, ACK_BYTES = 256 << 10, RTO_MIN = 200, RTO_MAX = 5000, RTO_FRAMES = 32
const WINDOW_FIRST = 1 << 20, WINDOW = 4 << 20, WINDOW_RESUME = 256 << 10, OVERHEAD = 256
const SEEK = 3000, ACK_TIME = 1000, PROBE = 5000, PROBE_PERIOD = 200, DOUBT = 1000, GRACE = 10000, WATCH = 100, CONNECT = 1500
const MARGIN = 300 // ms before the deadline at which the stub answers itself, so that the sandbox survives
const STALE = 9 * 60000 // API Gateway drops an idle connection after 10 minutes

const clock = () => performance.now()
const nonce = n => randomBytes(n).toString("hex")
const sleep = ms => new Promise(done => setTimeout(done, ms))

// WebSocket client, RFC 6455: text out, one message one frame; text or fragments in.
function dial(url, headers, timeout) {
  return new Promise((resolve, reject) => {
    const key = randomBytes(16).toString("base64")
    const target = new URL(url.replace(/^ws/, "http"))
    const request = (target.protocol === "https:" ? https : http).request(target, {
      timeout, agent: false,
      headers: { ...headers, Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key },
    })
    const late = setTimeout(() => request.destroy(new Error("timed out")), timeout)
    request.on("error", err => { clearTimeout(late); reject(err) })
    request.on("response", response => {
      clearTimeout(late)
      response.resume()
      reject(new Error("relay answered " + response.statusCode))
    })
    request.on("upgrade", (response, socket, head) => {
      clearTimeout(late)
      const want = createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64")
      if (response.headers["sec-websocket-accept"] !== want) {
        socket.destroy()
        return reject(new Error("not a WebSocket"))
      }
      socket.setTimeout(0)
      socket.setNoDelay(true)
      resolve(new Socket(socket, head))
    })
    request.end()
  })
}

class Socket {
  constructor(socket, head) {
    Object.assign(this, { socket, open: true, parts: [], onmessage() {}, onclose() {}, buffer: head })
    socket.on("data", data => { this.buffer = this.buffer.length ? Buffer.concat([this.buffer, data]) : data; this.parse() })
    socket.on("error", () => this.close())
    socket.on("close", () => this.close())
    socket.on("end", () => this.close())
  }

  start(onmessage, onclose) {
    Object.assign(this, { onmessage, onclose })
    this.parse()
    if (!this.open) onclose()
  }

  parse() {
    if (this.onmessage.length === 0) return // not started
    for (;;) {
      const b = this.buffer
      if (b.length < 2) return
      let size = b[1] & 127, at = 2
      if (size === 126) {
        if (b.length < 4) return
        size = b.readUInt16BE(2)
        at = 4
      } else if (size === 127) {
        if (b.length < 10) return
        size = Number(b.readBigUInt64BE(2))
        at = 10
      }
      if (b[1] & 128 || size > 4 * MESSAGE) return this.close()
      if (b.length < at + size) return
      const payload = b.subarray(at, at + size)
      this.buffer = b.subarray(at + size)
      const code = b[0] & 15
      if (code === 8) return this.close()
      if (code === 9) this.write(10, payload)
      if (code > 2) continue
      this.parts.push(payload)
      if (b[0] & 128) {
        const message = this.parts.length > 1 ? Buffer.concat(this.parts) : payload
        this.parts = []
        this.onmessage(message)
        if (!this.open) return
      }
    }
  }

  send(text) { this.write(1, Buffer.from(text)) }

  write(code, payload) {
    if (!this.open) return
    const n = payload.length, at = n < 126 ? 2 : n < 65536 ? 4 : 10
    const out = Buffer.allocUnsafe(at + 4 + n), mask = randomBytes(4)
    out[0] = 128 | code
    out[1] = 128 | (at === 2 ? n : at === 4 ? 126 : 127)
    if (at === 4) out.writeUInt16BE(n, 2)
    if (at === 10) out.writeBigUInt64BE(BigInt(n), 2)
    mask.copy(out, at)
    for (let i = 0, to = at + 4; i < n; i++) out[to + i] = payload[i] ^ mask[i & 3]
    this.socket.write(out)
  }

  close() {
    if (!this.open) return
    this.open = false
    this.socket.destroy()
    this.onclose()
  }
}

// SigV4 for the upgrade request, with headers: a session token does not fit every URL.
export function sign(url, { region, key, secret, session, now = new Date() }) {
  const { host, pathname, searchParams } = new URL(url.replace(/^ws/, "http"))
  const time = now.toISOString().replace(/[-:]|\.\d+/g, ""), date = time.slice(0, 8)
  const hash = text => createHash("sha256").update(text).digest("hex")
  const hmac = (k, text) => createHmac("sha256", k).update(text).digest()
  const escape = text => encodeURIComponent(text).replace(/[!'()*]/g, c => "%" + c.charCodeAt(0).toString(16).toUpperCase())
  const headers = { host, "x-amz-date": time }
  if (session) headers["x-amz-security-token"] = session
  const names = Object.keys(headers).sort()
  const query = [...searchParams].map(([k, v]) => escape(k) + "=" + escape(v)).sort().join("&")
  const path = pathname.split("/").map(escape).join("/")
  const canonical = ["GET", path, query, ...names.map(n => n + ":" + headers[n]), "", names.join(";"), hash("")].join("\n")
  const scope = [date, region, "execute-api", "aws4_request"].join("/")
  const signing = [date, region, "execute-api", "aws4_request"].reduce((k, part) => hmac(k, part), "AWS4" + secret)
  const signature = createHmac("sha256", signing).update(["AWS4-HMAC-SHA256", time, scope, hash(canonical)].join("\n")).digest("hex")
  return { ...headers, authorization: `AWS4-HMAC-SHA256 Credential=${key}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}` }
}

const publicKey = (crv, x) => createPublicKey({ key: { kty: "OKP", crv, x }, format: "jwk" })

// verified gives the key of a developer's end when the stage's key has signed it. See seal.go.
function verified(trust, key = "", signature = "") {
  const signed = Buffer.concat([Buffer.from("sst-live/1 key\n"), Buffer.from(key, "base64url")])
  if (!verify(null, signed, publicKey("Ed25519", trust), Buffer.from(signature, "base64url"))) {
    throw new Error("the key of the developer's end is not signed by the stage")
  }
  return publicKey("X25519", key)
}

// A large body goes through a bucket, at an address that the developer's end gave, sealed with a key used once. See far.go.
const FAR = 256 << 10

function farSeal(key, data) {
  const c = createCipheriv("aes-256-gcm", key, Buffer.alloc(12))
  return Buffer.concat([c.update(data), c.final(), c.getAuthTag()])
}

function farOpen(key, data) {
  const n = data.length - 16
  const c = createDecipheriv("aes-256-gcm", key, Buffer.alloc(12)).setAuthTag(data.subarray(n))
  return gunzipSync(Buffer.concat([c.update(data.subarray(0, n)), c.final()]), { maxOutputLength: MESSAGE })
}

async function transfer(method, url, body) {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(url, { method, body, signal: AbortSignal.timeout(20000) })
      if (response.ok) return Buffer.from(await response.arrayBuffer())
      throw new Error("the bucket answered " + response.status)
    } catch (err) {
      if (tries === 2) throw err
      await sleep(100)
    }
  }
}

// Seal seals and opens the frames of a session.
class Seal {
  constructor(peer, session) {
    const own = generateKeyPairSync("x25519")
    const secret = diffieHellman({ privateKey: own.privateKey, publicKey: peer })
    const keys = Buffer.from(hkdfSync("sha256", secret, session, "sst-live/1", 64))
    Object.assign(this, { public: own.publicKey.export({ format: "jwk" }).x, out: keys.subarray(0, 32), in: keys.subarray(32), sent: 0, heard: 0 })
  }

  head(f) {
    const text = ["t", "s", "w", "i"].map(k => f[k] || ""), more = ["m", "k", "q", "n", "c"].map(k => f[k] || 0), rest = ["e", "h", "z", "p"].map(k => f[k] || "")
    return Buffer.from([f.v, ...text, ...more, ...rest, f.x].join("\n"))
  }

  nonce(n) {
    const b = Buffer.alloc(12)
    b.writeBigUInt64BE(BigInt(n), 4)
    return b
  }

  // close adds to a frame's header what the seal needs and gives the sealed data.
  close(head, data = Buffer.alloc(0)) {
    head.x = ++this.sent
    if (head.t === "init") head.p = this.public
    const c = createCipheriv("aes-256-gcm", this.out, this.nonce(head.x)).setAAD(this.head(head))
    return Buffer.concat([c.update(data), c.final(), c.getAuthTag()])
  }

  // open gives the data of a frame; undefined when it is not of the other end, or was said before.
  open(f) {
    const data = Buffer.from(f.d || "", "base64url"), n = data.length - 16
    if (!f.x || n < 0 || !f.m && f.x <= this.heard) return
    try {
      const c = createDecipheriv("aes-256-gcm", this.in, this.nonce(f.x)).setAAD(this.head(f)).setAuthTag(data.subarray(n))
      const open = Buffer.concat([c.update(data.subarray(0, n)), c.final()])
      if (!f.m) this.heard = f.x
      return open
    } catch {}
  }
}

// One session: numbered frames, kept until acknowledged. See link.go.
class Link {
  constructor(sandbox, session, frame, write) {
    Object.assign(this, {
      sandbox, session, write, chunk: Math.floor((frame - 700) / 4) * 3, ready: true, next: 0, unacked: [], got: 0,
      beyond: new Set(), partial: new Map(), owed: 0, owedOf: 0, rto: RTO_MIN, moved: clock(), heard: clock(), heardAt: 0,
      window: WINDOW_FIRST, peer: WINDOW, flying: 0, sent: 0,
    })
  }

  // frame sends a frame; unsure is given the number of the transmission of a request.
  frame(fields, unsure) {
    let { d, ...head } = { v: VERSION, s: this.session, w: this.sandbox, ...fields, k: this.got || undefined }
    if (this.seal) d = this.seal.close(head, d)
    else if (unsure && head.t === "req" || head.t === "resume") head.x = ++this.sent
    unsure?.add(head.x)
    let text = JSON.stringify(head).replace(/[\u007f-\uffff]/g, c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))
    if (d && d.length) text = text.slice(0, -1) + ',"d":"' + d.toString("base64url") + '"}'
    this.owed = this.owedOf = 0
    this.write(text)
  }

  post(t, i, body) {
    let z, data = body
    if (body.length > GZIP_FROM) {
      const packed = gzipSync(body, { level: 1 })
      if (packed.length < body.length) [z, data] = ["gzip", packed]
    }
    const n = Math.max(1, Math.ceil(data.length / this.chunk)), frames = []
    for (let q = 0; q < n; q++) {
      const f = { t, i, m: ++this.next, z, d: data.subarray(q * this.chunk, (q + 1) * this.chunk) }
      if (n > 1) Object.assign(f, { q, n })
      if (n > 1 && q === 0 && !this.seal) f.h = createHash("sha256").update(body).digest("base64url")
      frames.push(f)
    }
    this.postFrames(frames)
  }

  postFrames(frames) {
    if (!this.unacked.length) this.moved = clock()
    for (const f of frames) this.unacked.push({ f, sends: 0, unsure: new Set(), at: 0, out: false, cost: (f.d ? f.d.length : 0) + OVERHEAD })
    this.pump()
  }

  // pump sends what the window lets out.
  pump() {
    if (!this.ready) return
    const frames = []
    for (const u of this.unacked) {
      if (u.out) continue
      if (this.flying && this.flying + u.cost > Math.min(this.window, this.peer)) break
      u.out = true
      this.flying += u.cost
      frames.push(u)
    }
    this.transmit(frames)
  }

  // open posts the init of a session. Nothing else is sent before the other end has answered, so that a session which
  // nobody takes leaves no doubt about its requests.
  open(body) {
    this.post("init", undefined, body)
    this.ready = false
  }

  transmit(frames) {
    for (const frame of frames) {
      frame.sends++
      frame.at = clock()
      this.frame(frame.f, frame.unsure)
    }
  }

  // receive returns the message that is complete with this frame; it throws the reason of a nak.
  receive(f) {
    const bytes = this.seal ? this.seal.open(f) : Buffer.from(f.d || "", "base64url")
    if (!bytes) return
    this.heard = clock()
    this.heardAt = (this.seal || this).sent
    const n = this.unacked.findIndex(u => u.f.m > (f.k || 0))
    if (n !== 0 && this.unacked.length) {
      for (const u of this.unacked.splice(0, n < 0 ? this.unacked.length : n)) {
        if (!u.out) continue
        this.flying -= u.cost
        this.window = Math.min(this.window + u.cost, WINDOW)
      }
      this.moved = clock()
      this.rto = RTO_MIN
    }
    const { m, q = 0 } = f, count = f.n || 1, part = count === -1
    if (!m && (f.t === "ack" || f.t === "resume")) this.peer = Math.min(f.c || WINDOW, WINDOW)
    this.pump()
    if (!m) return { t: f.t, i: f.i, body: bytes }
    if (m <= this.got || this.beyond.has(m)) return this.owe(ACK_EVERY, 0)
    if (count > CHUNKS || !part && (count < 1 || q < 0 || q >= count || q >= m)) throw "chunks"
    this.beyond.add(m)
    while (this.beyond.delete(this.got + 1)) this.got++
    this.owe(1, bytes.length)
    if (part) {
      if (f.z) throw "codec"
      return { t: f.t, i: f.i, q, body: bytes }
    }
    const first = m - q
    let a = this.partial.get(first)
    if (!a) this.partial.set(first, a = { parts: [], missing: count, count, bytes: 0, z: f.z })
    a.missing--
    a.bytes += bytes.length
    a.hash ||= f.h
    a.parts[q] = bytes
    if (a.bytes > MESSAGE) a.failed = a.failed || "too-large"
    if (a.count !== count || a.z !== f.z) a.failed = a.failed || "chunks"
    if (a.failed) a.parts = []
    if (a.missing > 0) return
    this.partial.delete(first)
    if (a.failed) throw a.failed
    let body = count > 1 ? Buffer.concat(a.parts) : bytes
    if (a.z === "gzip") {
      try {
        body = gunzipSync(body, { maxOutputLength: MESSAGE })
      } catch {
        throw "codec"
      }
    } else if (a.z) throw "codec"
    if (count > 1 && !this.seal && createHash("sha256").update(body).digest("base64url") !== a.hash) throw "digest"
    return { t: f.t, i: f.i, body }
  }

  owe(n, bytes) {
    this.owed += n
    this.owedOf += bytes
    if (this.owed >= ACK_EVERY || this.owedOf >= ACK_BYTES) return this.frame({ t: "ack" })
    this.timer ||= setTimeout(() => { this.timer = undefined; this.flush() }, ACK_DELAY)
  }

  flush() { if (this.owed) this.frame({ t: "ack" }) }

  // overdue sends the oldest frames again when nothing was acknowledged for a whole timeout.
  overdue(now) {
    if (!this.ready || !this.unacked.length || now - this.moved < this.rto) return
    const again = this.unacked.filter(u => u.out && now - u.at >= this.rto).slice(0, RTO_FRAMES)
    if (!again.length) return
    this.rto = Math.min(2 * this.rto, RTO_MAX)
    this.window = Math.max(this.window / 2, WINDOW_RESUME)
    this.transmit(again)
  }

  resumed(fresh) {
    this.ready = true
    const now = clock()
    for (const u of this.unacked) {
      if (!u.out || u.sends && now - u.at < fresh) continue
      u.out = false
      this.flying -= u.cost
      this.window = Math.min(this.window, WINDOW_RESUME)
    }
    this.pump()
  }

  // refused notes that a transmission came back undelivered. Of a request it must say which, since a relay may say
  // everything twice.
  refused({ m, x }) {
    for (const u of this.unacked) if (u.f.m === m && u.sends && (u.unsure.delete(x) || u.f.t !== "req")) u.sends--
  }

  // doubt says whether a transmission of a request has been neither acknowledged nor refused.
  doubt() {
    return this.unacked.some(u => u.f.t === "req" && u.unsure.size)
  }

  // withdraw takes back what the other end does not have of a request. What may have arrived keeps its numbers as empty
  // frames; it reports whether nothing can have.
  withdraw(i) {
    const mine = u => u.f.i === i && u.f.t === "req"
    if (!this.unacked.some(u => mine(u) && !u.f.q)) return false
    while (this.unacked.length && mine(this.unacked.at(-1)) && !this.unacked.at(-1).sends) {
      const { out, cost } = this.unacked.pop()
      if (out) this.flying -= cost
      this.next--
    }
    const left = this.unacked.filter(mine)
    for (const u of left) {
      if (u.out) this.flying -= u.cost - OVERHEAD
      u.cost = OVERHEAD
      u.f = { t: "ack", m: u.f.m }
    }
    return !left.length
  }
}

// The sandbox: one request at a time, a connection only while one is needed. See sandbox.go.
class Sandbox {
  constructor(config, env) {
    Object.assign(this, { config, env, id: nonce(8), last: 0, call: undefined, absent: 0, probed: 0, used: 0, gap: Date.now() - clock() })
  }

  async connect(limit) {
    const { url, token, region = this.env.AWS_REGION } = this.config
    let headers = token ? { authorization: "Bearer " + token } : {}
    if (!token && this.env.AWS_ACCESS_KEY_ID) {
      headers = sign(url, { region, key: this.env.AWS_ACCESS_KEY_ID, secret: this.env.AWS_SECRET_ACCESS_KEY, session: this.env.AWS_SESSION_TOKEN })
    }
    const began = clock(), socket = await dial(url, headers, limit)
    const welcome = await new Promise((resolve, reject) => {
      const late = setTimeout(() => socket.close(), limit - (clock() - began))
      socket.start(message => {
        const f = parseFrame(message)
        if (f && f.t === "welcome") {
          clearTimeout(late)
          resolve(JSON.parse(Buffer.from(f.d, "base64url")))
        } else if (f && f.t === "nak") {
          this.why = "the relay refused: " + f.e
          socket.close()
        }
        else if (f) this.receive(f)
      }, () => {
        clearTimeout(late)
        if (this.socket === socket) {
          this.socket = undefined
          if (this.link) this.link.ready = false
          if (this.call) this.reach()
        }
        reject(new Error(this.why || "closed"))
      })
      socket.send(this.hello())
    })
    // From here on frames go to receive.
    socket.onmessage = message => {
      const f = parseFrame(message)
      if (f) this.receive(f)
      else socket.close()
    }
    this.socket = socket
    this.used = Date.now()
    this.heard = clock()
    this.absent = 0
    this.limit = Math.min(welcome.frame || FRAME, FRAME)
    this.learn(welcome)
    if (this.link) this.link.frame({ t: "resume" })
    else this.renew()
  }

  // learn takes the key of the developer's end from a welcome, when one is wanted.
  learn({ present, key, signature }) {
    if (!this.config.key) return
    this.peer = undefined
    if (!present) return this.absent ||= clock()
    try {
      this.peer = verified(this.config.key, key, signature)
      this.distrust = undefined
    } catch (err) {
      this.distrust = err.message
    }
  }

  // greet says hello; the welcome tells which key the developer's end has now.
  greet() {
    this.probed = clock()
    this.write(this.hello())
  }

  hello() {
    const hello = { role: "sandbox", min: VERSION, max: VERSION, function: this.config.function }
    return JSON.stringify({ v: VERSION, t: "hello", d: Buffer.from(JSON.stringify(hello)).toString("base64url") })
  }

  // reach makes a connection while a call needs one, and once in init.
  async reach(once) {
    if (this.connecting || this.socket) return
    this.connecting = true
    for (let wait = 50, limit = CONNECT; ; wait = Math.min(wait * 2, 1000), limit = Math.min(limit * 2, SEEK)) {
      try {
        await this.connect(limit)
        this.why = undefined
        break
      } catch (err) {
        this.why = err.message
      }
      if (once || !this.call) break
      await sleep(5 + Math.random() * wait)
      if (!this.call) break
    }
    this.connecting = false
  }

  renew() {
    if (this.rekey = !!this.config.key && !this.peer) return
    const old = this.link, call = this.call
    this.last = Math.max(this.last + 1, Date.now())
    const session = this.last.toString(16).padStart(11, "0") + "-" + nonce(4)
    this.link = new Link(this.id, session, this.limit, text => this.write(text))
    if (this.peer) this.link.seal = new Seal(this.peer, session)
    const { function: id, runtime, timeout } = this.config
    const { SST_LIVE, AWS_LAMBDA_EXEC_WRAPPER, ...env } = this.env
    for (const name in env) { // the function's own, which the stub must not run under
      if (!name.startsWith("SST_LIVE_")) continue
      env[name.slice(9)] = env[name]
      delete env[name]
    }
    this.probed = clock()
    this.link.open(Buffer.from(JSON.stringify({
      function: id, runtime, timeout, memory: +this.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE || undefined,
      arch: process.arch === "arm64" ? "arm64" : "x86_64", env, far: true,
    })))
    if (old) clearTimeout(old.timer)
    if (!call) return
    // What the developer's end before cannot have got may go to this one; what it may have got could run twice.
    const first = old && old.unacked.find(u => u.f.i === call.id)
    if (!old || !call.posted || first && !first.f.q && !first.sends) this.post(call)
    else this.fail(call, "SST.DeveloperLost", "the developer's end restarted while it may have run this invocation")
  }

  write(text) {
    if (this.socket) this.socket.send(text)
  }

  post(call) {
    const line = JSON.stringify({ request: call.request, remaining: Math.max(0, Math.round(call.deadline - Date.now())), far: call.far, ...call.header })
    call.posted = true
    this.link.post("req", call.id, Buffer.concat([Buffer.from(line + "\n"), call.far ? Buffer.alloc(0) : call.event]))
  }

  nak(f, e) {
    const d = Buffer.from(JSON.stringify({ m: f.m, x: f.x, t: f.t })).toString("base64url")
    this.write(JSON.stringify({ v: VERSION, t: "nak", s: f.s, w: f.w, i: f.i, e, d }))
  }

  receive(f) {
    const link = this.link, call = this.call
    this.used = Date.now()
    this.heard = clock()
    if (f.t === "welcome") {
      try { this.learn(JSON.parse(Buffer.from(f.d, "base64url"))) } catch {}
      if (this.rekey && this.peer) this.renew()
      return
    }
    if (!link || f.t === "pong" || f.s !== link.session) return
    if (f.t === "nak") {
      let what = {}
      try { what = JSON.parse(Buffer.from(f.d || "", "base64url")) } catch {}
      if (f.e === "no-developer") {
        link.refused(what)
        link.ready = false
        this.absent ||= clock()
      } else if (f.e === "unknown-session") {
        link.refused(what)
        if (what.t === "resume" && what.x <= link.heardAt) link.frame({ t: "resume" }) // sent before the last sign of life: ask again
        else if (what.t === "resume" && this.doubts(link)) link.ready = false // look asks again
        else if (what.t === "resume" && this.config.key) {
          this.rekey = true
          this.greet()
        } else if (what.t === "resume") this.renew()
        else {
          link.ready = false
          link.frame({ t: "resume" })
        }
      } else if (f.e === "hello-first") this.socket?.close()
      else if (call && call.id === f.i) this.fail(call, f.e === "busy" ? "SST.Busy" : "SST.Protocol", "the developer's end refused the request: " + f.e)
      return
    }
    let message
    const began = clock()
    try {
      message = link.receive(f)
    } catch (reason) {
      if (typeof reason !== "string") throw reason
      this.nak(f, reason)
      if (call && call.id === f.i) this.fail(call, "SST.Protocol", "the answer could not be read: " + reason)
      return
    }
    if (link.heard < began || !f.k) return // not of the other end: that has the init at least
    this.absent = 0
    if (!link.ready) link.resumed(0)
    if (!message) return
    const { t, i, body } = message, mine = call && call.id === i
    if ((t === "res" || t === "err") && mine) this.answered(call, t, body)
    else if (t === "room") link.room = JSON.parse(body)
    else if (t === "far" && mine) {
      const { at, key, kind } = JSON.parse(body)
      transfer("GET", at).then(data => this.answered(call, kind, farOpen(Buffer.from(key, "base64url"), data)))
        .catch(err => this.fail(call, "SST.Protocol", "the answer could not be fetched: " + err.message))
    } else if (t === "stream" && mine) this.part(call, message)
    else if (t === "end" && mine) {
      const cut = body.indexOf(10)
      let line
      try { line = JSON.parse(body.subarray(0, cut)) } catch { return this.fail(call, "SST.Protocol", "the streamed answer could not be read") }
      Object.assign(this.stream(call), { parts: line.parts, type: line.type, error: body.subarray(cut + 1) })
      this.settle(call)
    } else if (t === "log" && mine) process.stdout.write(body)
    else if (t === "resume") link.resumed(0)
    else if (!["res", "err", "stream", "end", "log", "ack", "bye", "far"].includes(t)) this.nak(f, "unknown-type")
  }

  answered(call, t, body) {
    if (t === "res") return this.finish(call, { body })
    const cut = body.indexOf(10)
    let type = "Unknown"
    try { type = JSON.parse(body.subarray(0, cut)).type } catch {}
    this.finish(call, { type, body: body.subarray(cut + 1) })
  }

  // stream is the streamed answer of a call: its parts in order go to out, which the caller's open() gives, or are kept.
  stream(call) {
    return call.stream ||= { early: new Map(), next: 0, granted: WINDOW_FIRST, taken: 0, kept: [] }
  }

  part(call, { q, body }) {
    const s = this.stream(call)
    if (q < s.next || s.early.has(q)) return
    s.early.set(q, body)
    for (; s.early.has(s.next); s.next++) {
      let data = s.early.get(s.next)
      s.early.delete(s.next)
      if (!s.next) {
        const cut = data.indexOf(10)
        try { s.out = call.open?.(JSON.parse(data.subarray(0, cut)).type) } catch { return this.fail(call, "SST.Protocol", "the streamed answer could not be read") }
        data = data.subarray(cut + 1)
      }
      const taken = () => {
        s.taken += data.length
        if (this.call !== call || s.taken + WINDOW - s.granted < WINDOW / 4) return
        s.granted = s.taken + WINDOW
        this.link.postFrames([{ t: "ack", i: call.id, m: ++this.link.next, c: s.granted }])
      }
      if (s.out) s.out.write(data, taken)
      else {
        s.kept.push(data)
        if (s.taken + data.length > MESSAGE) return this.fail(call, "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size.")
        taken()
      }
    }
    this.settle(call)
  }

  // settle ends a call whose streamed answer is complete.
  settle(call) {
    const s = call.stream
    if (!(s.next >= s.parts)) return
    const error = s.type && { type: s.type, body: s.error }
    this.finish(call, s.out ? { ...error, sent: s.out } : error || { body: Buffer.concat(s.kept) })
  }

  finish(call, answer) {
    if (this.call !== call) return
    if (call.stream?.out) answer.sent = call.stream.out
    this.call = undefined
    clearInterval(call.watch)
    if (this.link) {
      clearTimeout(this.link.timer)
      this.link.timer = undefined
      this.link.flush() // outside an invocation nothing may be left to do
    }
    call.done(answer)
  }

  fail(call, type, message) {
    if (this.call !== call) return
    if (this.link) {
      const unknown = this.link.withdraw(call.id)
      if (call.posted && !unknown) this.link.post("cancel", call.id, Buffer.alloc(0))
    }
    this.finish(call, { type, own: true, body: Buffer.from(JSON.stringify({ errorType: type, errorMessage: message, trace: [] })) })
  }

  // run makes one invocation: {request, event, deadline, header} to {body} or {type, body}.
  async run(request) {
    const far = await this.put(request.event)
    const gap = Date.now() - clock()
    const slept = Math.abs(gap - this.gap) > 30000
    this.gap = gap
    if (this.socket && (slept || Date.now() - this.used > STALE)) this.socket.close()
    return new Promise(done => {
      const call = this.call = { ...request, far, id: request.request + "." + nonce(8), started: clock(), looked: clock(), waited: 0, moved: 0, done }
      call.watch = setInterval(() => this.look(call), WATCH)
      if (this.link) {
        this.post(call)
        if (this.socket && !this.link.ready && clock() - this.probed > PROBE_PERIOD) this.probe()
      }
      this.reach()
    })
  }

  // put brings a large event to where the developer's end offered room, and says where and how it is opened.
  async put(event) {
    const { room } = this.link || {}
    if (!room || event.length <= FAR) return
    const packed = gzipSync(event, { level: 1 }), key = randomBytes(32)
    if (packed.length <= FAR) return
    this.link.room = undefined
    try {
      await transfer("PUT", room.put, farSeal(key, packed))
      return { at: room.at, key: key.toString("base64url") }
    } catch {} // then it goes over the relay
  }

  // doubts says whether the refusal of a request may still come, later than that of a question: it is waited for, for a while.
  doubts(link) {
    if (!link.doubt()) return false
    link.doubted ||= clock()
    return clock() - link.doubted < DOUBT
  }

  probe() {
    this.probed = clock()
    this.link.frame({ t: "resume" })
  }

  look(call) {
    const now = clock(), { link, socket } = this
    // A sandbox with little CPU may be too busy to run this in time; only time in which it could have heard counts.
    const passed = Math.min(now - call.looked, 2 * WATCH)
    call.looked = now
    call.waited = link && !this.absent && link.moved > call.moved ? 0 : call.waited + passed
    if (link && !this.absent) call.moved = link.moved
    const remaining = call.deadline - Date.now()
    if (remaining < MARGIN) return this.fail(call, "SST.DeadlineNear", "the developer's end did not answer before the deadline")
    if (!socket) this.reach()
    // Not even a refusal of what is asked all the time: the connection is dead.
    else if (now - this.heard > 2 * ACK_TIME && (this.rekey || link && !link.ready)) return socket.close()
    const acked = call.posted && link && !link.unacked.some(u => u.f.i === call.id)
    if (this.rekey && socket && now - this.probed > PROBE_PERIOD) this.greet()
    if (link && socket && !this.rekey) {
      const silent = now - link.heard, probed = now - this.probed
      if (!link.ready) {
        if (probed > PROBE_PERIOD) this.probe()
      } else if (link.unacked.length && call.waited > ACK_TIME && probed > ACK_TIME) {
        this.probed = now
        socket.close()
      } else if (silent > 2 * PROBE && probed > PROBE) socket.close()
      else if (silent > PROBE && probed > PROBE) this.probe()
      link.overdue(now)
    }
    const budget = Math.min(SEEK, (call.deadline - Date.now() + now - call.started) / 4)
    if (!acked && call.waited > budget) {
      if (link && link.unacked.some(u => u.f.i === call.id && u.sends)) {
        this.fail(call, "SST.DeveloperLost", "the developer's end did not say that it has the request: it may run it")
      } else this.fail(call, "SST.NoDeveloper", this.nobody())
    }
    else if (acked && this.absent && now - this.absent > GRACE) this.fail(call, "SST.DeveloperLost", "the developer's end left while it ran this invocation")
  }

  nobody() {
    if (this.distrust) return this.distrust
    if (this.absent) return "no developer is connected: run `sst start`"
    if (!this.socket) return "the relay could not be reached: " + (this.why || "no answer")
    return "the developer's end does not answer"
  }
}

function parseFrame(message) {
  try { return JSON.parse(message) } catch {}
}

// unavailable is the answer to a web request that the developer's end did not answer; undefined for every other event,
// which fails so that its source tries again.
function unavailable(event, reason) {
  let context
  try { context = JSON.parse(event).requestContext } catch {}
  if (!context || !(context.http || context.httpMethod || context.elb)) return
  const answer = { statusCode: 503, headers: { "content-type": "text/plain; charset=utf-8" }, body: reason + "\n", isBase64Encoded: false }
  if (context.elb) answer.statusDescription = "503 Service Unavailable"
  return Buffer.from(JSON.stringify(answer))
}

async function answer(sandbox, request) {
  const result = await sandbox.run(request)
  if (result.own && /NoDeveloper|Lost|Near/.test(result.type) && !result.sent) {
    const body = unavailable(request.event, JSON.parse(result.body).errorMessage)
    if (body) return { body }
  }
  return result
}

// The runtime: next, answer, next, over one kept connection.
async function main(env) {
  const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(":")
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const send = (method, path, headers) => {
    let request
    const done = new Promise((resolve, reject) => {
      request = http.request({ host, port, method, path: "/2018-06-01/runtime/" + path, agent, headers }, response => {
        const parts = []
        response.on("data", part => parts.push(part))
        response.on("error", reject)
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }))
      })
      request.on("error", reject)
    })
    return { request, done }
  }
  const call = (method, path, headers, body) => {
    const { request, done } = send(method, path, body ? { ...headers, "Content-Length": body.length } : headers)
    request.end(body)
    return done
  }
  const failure = (type, message) => [
    { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": type },
    Buffer.from(JSON.stringify({ errorType: type, errorMessage: message, trace: [] })),
  ]
  let sandbox
  try {
    sandbox = new Sandbox(JSON.parse(env.SST_LIVE), env)
  } catch (err) {
    await call("POST", "init/error", ...failure("SST.Configuration", "SST_LIVE: " + err.message))
    process.exit(1)
  }
  await Promise.race([sandbox.reach(true), sleep(3000)])
  for (;;) {
    const { status, headers: h, body: event } = await call("GET", "invocation/next")
    if (status !== 200) throw new Error("next answered " + status)
    const request = h["lambda-runtime-aws-request-id"]
    const header = {
      arn: h["lambda-runtime-invoked-function-arn"], trace: h["lambda-runtime-trace-id"], client: h["lambda-runtime-client-context"],
      cognito: h["lambda-runtime-cognito-identity"], tenant: h["lambda-runtime-aws-tenant-id"], type: h["content-type"],
    }
    const path = "invocation/" + request
    const open = type => {
      const { request, done } = send("POST", path + "/response", {
        "Content-Type": type || "application/octet-stream", "Lambda-Runtime-Function-Response-Mode": "streaming",
        "Transfer-Encoding": "chunked", Trailer: "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
      })
      request.flushHeaders()
      done.catch(() => {})
      return Object.assign(request, { done })
    }
    const result = await answer(sandbox, { request, event, deadline: +h["lambda-runtime-deadline-ms"], header, open })
    if (result.sent) { // streamed: all but an error's trailers has been said
      if (result.type !== undefined) {
        result.sent.addTrailers({
          "Lambda-Runtime-Function-Error-Type": result.type.replace(/[^\x20-\x7e]/g, "?"),
          "Lambda-Runtime-Function-Error-Body": result.body.toString("base64"),
        })
      }
      result.sent.end()
      await result.sent.done
      continue
    }
    const posted = result.type === undefined
      ? await call("POST", path + "/response", { "Content-Type": "application/json" }, result.body)
      : await call("POST", path + "/error", { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": result.type }, result.body)
    if (posted.status === 413) await call("POST", path + "/error", ...failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size."))
  }
}

let shared

// handler is for where the runtime cannot be replaced. Events and results pass through JSON.parse, and errors are
// re-shaped by the runtime client.
export async function handler(event, context) {
  shared ||= new Sandbox(JSON.parse(process.env.SST_LIVE), process.env)
  const result = await answer(shared, {
    request: context.awsRequestId, event: Buffer.from(JSON.stringify(event)), deadline: Date.now() + context.getRemainingTimeInMillis(),
    header: { arn: context.invokedFunctionArn, trace: process.env._X_AMZN_TRACE_ID },
  })
  if (result.type === undefined) {
    try {
      return result.body.length ? JSON.parse(result.body) : null
    } catch {
      throw Object.assign(new Error("the answer is not JSON, which this form of the stub cannot pass on"), { name: "SST.Protocol" })
    }
  }
  let message = result.body.toString()
  try { message = JSON.parse(message).errorMessage ?? message } catch {}
  throw Object.assign(new Error(message), { name: result.type })
}

if (process.env.AWS_LAMBDA_RUNTIME_API && process.argv[1] && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  main(process.env).catch(err => {
    console.error(err)
    process.exit(1)
  })
}
