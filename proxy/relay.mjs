// The relay of sst-live/1 (docs/protocol.md) as a Lambda function behind an API Gateway WebSocket API: API Gateway holds the
// connections, this function is asked for each frame and passes it on. One file without dependencies, Node 20 or later.
//
// Who may be what is a matter of the API's stages, which IAM guards at $connect: functions may connect to the stage "stub",
// developers to the stage "developer". What is remembered: who runs what, in one item, and which function a connection is
// of. TABLE names the table; CONNECTIONS_URL is the @connections address where it is not the one that API Gateway names (an
// emulator), "{stage}" in it the API's stage.
import http from "node:http"
import https from "node:https"
import { createHash, createHmac } from "node:crypto"

const VERSION = 1, FRAME = 31000
const LEASE = 180 // s without a hello, which comes every minute, after which a developer's end counts as gone
const FRESH = 1000 // ms for which the registry is not read again: so long may frames go to who had a function before
const REGISTRY = { pk: { S: "developers" }, sk: { S: "registry" } }
const LIFE = 3 * 3600 // s, longer than a connection can live
const roles = { developer: "developer", stub: "sandbox" } // by stage; an emulator's stage has any name and says nothing

const agents = { "http:": new http.Agent({ keepAlive: true }), "https:": new https.Agent({ keepAlive: true }) }
const sleep = ms => new Promise(done => setTimeout(done, ms))

// call sends a request signed with the function's own credentials (SigV4).
function call(method, url, service, headers, body = "") {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: session, AWS_REGION: region } = process.env
  const target = new URL(url)
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, ""), date = time.slice(0, 8)
  const hash = text => createHash("sha256").update(text).digest("hex")
  const hmac = (key, text) => createHmac("sha256", key).update(text).digest()
  const signed = { ...headers, host: target.host, "x-amz-date": time }
  if (session) signed["x-amz-security-token"] = session
  const names = Object.keys(signed).sort()
  const canonical = [method, target.pathname.split("/").map(encodeURIComponent).join("/"), "", ...names.map(n => n + ":" + signed[n]), "", names.join(";"), hash(body)]
  const scope = [date, region, service, "aws4_request"]
  const key = scope.reduce((k, part) => hmac(k, part), "AWS4" + secret)
  const signature = createHmac("sha256", key).update(["AWS4-HMAC-SHA256", time, scope.join("/"), hash(canonical.join("\n"))].join("\n")).digest("hex")
  signed.authorization = `AWS4-HMAC-SHA256 Credential=${id}/${scope.join("/")}, SignedHeaders=${names.join(";")}, Signature=${signature}`
  return new Promise((resolve, reject) => {
    const request = (target.protocol === "https:" ? https : http).request(target, {
      method, agent: agents[target.protocol], timeout: 5000, headers: { ...signed, "content-length": Buffer.byteLength(body) },
    }, response => {
      const parts = []
      response.on("data", part => parts.push(part))
      response.on("error", reject)
      response.on("end", () => resolve({ status: response.statusCode, body: Buffer.concat(parts).toString() }))
    })
    request.on("timeout", () => request.destroy(new Error(service + " did not answer")))
    request.on("error", reject)
    request.end(body)
  })
}

// dynamo gives the answer of DynamoDB, undefined when a condition did not hold.
async function dynamo(action, input) {
  const { AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL, AWS_REGION: region, TABLE } = process.env
  const url = AWS_ENDPOINT_URL_DYNAMODB || AWS_ENDPOINT_URL || `https://dynamodb.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`
  for (let wait = 50; ; wait *= 2) {
    const { status, body } = await call("POST", url.replace(/\/$/, "") + "/", "dynamodb",
      { "content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810." + action }, JSON.stringify({ TableName: TABLE, ...input }))
    if (status === 200) return JSON.parse(body)
    if (body.includes("ConditionalCheckFailed")) return
    if (wait > 400 || status < 500 && !/Throttling|ThroughputExceeded|RequestLimit/.test(body)) throw new Error(`DynamoDB ${action}: ${status} ${body}`)
    await sleep(wait)
  }
}

// The registry: who runs what. Registry of registry.go, rule for rule; claims of a later place go before earlier ones.
const shared = (c, other) => !c.only ? other.only || true : !other.only ? c.only : c.only.filter(f => other.only.includes(f)) // true: all
const some = both => both === true || both.length > 0
const covers = (c, other) => {
  const both = shared(c, other)
  return both === true || !!other.only && both.length === other.only.length
}

export const claimFor = (claims, f) => claims.findLast(c => !c.only || c.only.includes(f))

// join gives {claims, notices, refused}: the next registry, whom to tell what, and who is in the place of the new claim.
export function join(claims, c, takeOver, again) {
  const at = claims.findIndex(was => was.instance === c.instance)
  if (at >= 0) return { claims: c.turn < claims[at].turn ? claims : claims.with(at, c), notices: [] } // lower: it was on its way for long
  const past = c.former ? claims.findIndex(was => was.instance === c.former) : -1
  if (past >= 0) { // the run before it in its place, whose process is gone
    const was = claims[past], notices = [{ to: was.connection, kind: "replaced", name: c.name }] // should it live after all
    if (covers(was, c)) return { claims: claims.with(past, c), notices }
    const left = leave(claims, was.connection), joined = join(left.claims, c, takeOver, again)
    return { ...joined, notices: [...notices, ...left.notices, ...joined.notices] }
  }
  let next = [...claims], rest = c.only?.length || 0
  const notices = [], clash = claims.filter(was => some(shared(c, was)))
  for (const was of clash) {
    const both = shared(c, was), all = both === true, functions = all ? undefined : both
    if (takeOver && covers(c, was)) {
      next = next.filter(x => x.instance !== was.instance)
      notices.push({ to: was.connection, kind: "replaced", name: c.name })
    } else if (takeOver) notices.push({ to: was.connection, kind: "taken", name: c.name, functions })
    else if (again && !all && (!c.only || !covers(was, c))) rest -= both.length
    else return { claims, notices: [{ to: was.connection, kind: "refused", name: c.name, functions }], refused: { name: was.name, functions } }
  }
  if (!again || takeOver) return { claims: [...next, c], notices }
  if (c.only && rest <= 0) return { claims, notices: [], refused: { name: clash[0].name, functions: c.only } }
  return { claims: [c, ...next], notices: [] }
}

// leave gives the registry without the claim of a connection, and whom to tell that something is his again.
export function leave(claims, connection) {
  const at = claims.findIndex(c => c.connection === connection)
  if (at < 0) return { claims, notices: [] }
  const left = claims[at], next = claims.toSpliced(at, 1), notices = []
  for (const c of next.slice(0, at)) {
    const both = shared(left, c)
    if (both !== true && both.length) notices.push({ to: c.connection, kind: "returned", name: left.name, functions: both })
  }
  return { claims: next, notices }
}

let known // {at, claims, epoch}: the registry as it was last read
const functions = new Map() // by connection: which function a sandbox is of

const seconds = () => Math.floor(Date.now() / 1000)

// registry gives the claims; now: as they are now and not some seconds ago.
async function registry(now) {
  if (now || !known?.claims.length || Date.now() - known.at > FRESH) {
    const { Item } = await dynamo("GetItem", { Key: REGISTRY, ConsistentRead: true })
    const all = Item ? JSON.parse(Item.claims.S) : []
    known = { at: Date.now(), claims: all.filter(c => c.until > seconds()), epoch: Item ? +Item.epoch.N : 0 }
  }
  return known.claims
}

// change makes what decide gives of the registry the next one. Nobody else's change is lost: each knows which it follows.
async function change(decide) {
  for (;;) {
    await registry(true)
    const { claims: before, epoch } = known, decided = decide(before)
    if (decided.claims === before) return decided
    const item = { ...REGISTRY, claims: { S: JSON.stringify(decided.claims) }, epoch: { N: String(epoch + 1) }, expires: { N: String(seconds() + LEASE) } }
    const done = await dynamo("PutItem", epoch
      ? { Item: item, ConditionExpression: "epoch = :e", ExpressionAttributeValues: { ":e": { N: String(epoch) } } }
      : { Item: item, ConditionExpression: "attribute_not_exists(pk)" })
    known = undefined
    if (done) return decided
  }
}

async function tell(c, notices) {
  for (const { to, kind, name, functions } of notices) {
    await send(c.developers, to, JSON.stringify({ v: VERSION, t: kind === "replaced" ? "bye" : "notice", e: kind, d: encode({ name, functions }) }))
    if (kind === "replaced") await call("DELETE", address(c.developers, to), "execute-api", {})
  }
}

// register makes a connection a developer's end, or says who is in its place.
async function register(c, h) {
  const claim = {
    connection: c.id, instance: h.instance || c.id, turn: h.turn || 0, name: h.name || "", only: h.only, former: h.former, key: h.key, signature: h.signature, caller: c.caller, until: seconds() + LEASE,
  }
  const takeOver = !!h.takeOver, again = !!h.again
  for (const was of await registry(true)) { // the $disconnect of one may never have come; a frame that changes nothing tells
    if (was.instance === claim.instance || was.instance === claim.former || await send(c.developers, was.connection, '{"v":1,"t":"welcome"}')) continue
    await tell(c, (await change(claims => leave(claims, was.connection))).notices)
  }
  const { notices, refused } = await change(claims => {
    const was = claims.find(x => x.instance === claim.instance) // its connection before is heard for a while
    return join(claims, { ...claim, previous: was && (was.connection === c.id ? was.previous : was.connection) }, takeOver, again)
  })
  await tell(c, notices)
  return refused
}

const connection = id => ({ pk: { S: "connection" }, sk: { S: id } })

// functionOf gives the function that a sandbox's connection is of.
async function functionOf(id) {
  if (!functions.has(id)) {
    const { Item } = await dynamo("GetItem", { Key: connection(id), ConsistentRead: true })
    if (Item) functions.set(id, Item.function.S)
  }
  return functions.get(id)
}

const encode = value => Buffer.from(JSON.stringify(value)).toString("base64url")
const address = (base, id) => base + "/@connections/" + encodeURIComponent(id)

// send posts a frame to a connection and says whether that is still there.
async function send(base, id, text) {
  for (let wait = 50; ; wait *= 2) {
    const { status, body } = await call("POST", address(base, id), "execute-api", {}, text)
    if (status === 410) return false
    if (status < 300) return true
    // 429 also says that the receiver's buffer is full. What is lost is sent again by the ends.
    if (status !== 429 && status < 500 || wait > 400) throw new Error(`@connections: ${status} ${body}`)
    await sleep(wait)
  }
}

async function frame(c, text) {
  let f
  try { f = JSON.parse(text) } catch {}
  const say = fields => send(c.own, c.id, JSON.stringify({ v: VERSION, ...fields }))
  const refuse = (e, d = { m: f?.m, x: f?.x, to: f?.to, t: f?.t }) => say({ t: "nak", e, s: f?.s, w: f?.w, i: f?.i, d: encode(d) })
  if (text[0] !== "{" || typeof f?.t !== "string" || f.from !== undefined || f.to !== undefined && typeof f.to !== "string") return refuse("bad-frame")
  if (f.t === "ping") return say({ t: "pong", i: f.i })
  if (f.t === "hello") {
    let h
    try { h = JSON.parse(Buffer.from(f.d, "base64url")) } catch {}
    if (h?.role !== "developer" && h?.role !== "sandbox") return refuse("bad-frame")
    if (c.role && c.role !== h.role) return refuse("forbidden")
    if (h.min > VERSION || h.max < VERSION) return refuse("version", { min: VERSION, max: VERSION })
    const refused = h.role === "developer" && await register(c, h)
    if (refused) return refuse("developer-present", refused)
    if (h.role === "sandbox") {
      functions.set(c.id, h.function || "")
      await dynamo("PutItem", { Item: { ...connection(c.id), function: { S: h.function || "" }, expires: { N: String(seconds() + LIFE) } } })
    }
    const d = claimFor(await registry(true), h.function || "")
    return say({ t: "welcome", d: encode({
      connection: c.id, version: VERSION, frame: FRAME, codecs: ["gzip"],
      ...d && { present: true, developer: d.name, key: d.key, signature: d.signature },
    }) })
  }
  const on = `{"from":${JSON.stringify(c.id)},` + text.slice(1)
  const mine = d => d.connection === c.id || d.previous === c.id
  if (f.t === "bye" && f.to === undefined && c.role !== "sandbox" && (await registry(true)).some(mine)) {
    await tell(c, (await change(claims => leave(claims, c.id))).notices)
    return say({ t: "bye", e: "left" })
  }
  if (c.role ? c.role === "developer" : f.to !== undefined) {
    if (!(await registry()).some(mine) && !(await registry(true)).some(mine)) return refuse("not-registered")
    if (f.to === undefined || !await send(c.sandboxes, f.to, on)) return refuse("gone")
    return
  }
  if (f.to !== undefined) return refuse("forbidden")
  const of = await functionOf(c.id)
  if (of === undefined) return refuse("hello-first")
  let x = f.x
  for (const now of [false, true]) { // a connection that is gone may have been replaced since it was read
    const d = claimFor(await registry(now), of)
    if (d && await send(c.developers, d.connection, on)) return
    if (d) x = undefined // a 410 may be wrong, so it is not certain that this was not delivered
  } // its registration stays, and hello looks again
  return refuse("no-developer", { m: f.m, x, t: f.t })
}

// gone forgets a connection. A registration that has moved on to another connection stays.
async function gone(c) {
  if (c.role !== "sandbox") await tell(c, (await change(claims => leave(claims, c.id))).notices)
  if (c.role !== "developer") {
    functions.delete(c.id)
    await dynamo("DeleteItem", { Key: connection(c.id) })
  }
}

// handler is asked for each connection, frame and end of a connection.
export async function handler(event) {
  const { eventType, connectionId, domainName, stage, identity } = event.requestContext
  const base = process.env.CONNECTIONS_URL
  const at = name => base ? base.replace(/\/$/, "").replace("{stage}", name) : `https://${domainName}/${roles[stage] ? name : stage}`
  const c = {
    id: connectionId, role: roles[stage], caller: identity?.userArn, own: at(stage), developers: at("developer"), sandboxes: at("stub"),
  }
  try {
    if (eventType === "MESSAGE") await frame(c, event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body || "")
    else if (eventType === "DISCONNECT") await gone(c)
  } catch (err) {
    // The ends send again what is not acknowledged. Frames are not logged.
    console.error(err.message)
    return { statusCode: 500 }
  }
  return { statusCode: 200 }
}
