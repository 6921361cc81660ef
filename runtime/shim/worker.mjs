// The process side of a Node function. It waits, everything loaded, for one line of JSON on stdin that says which
// function it is, loads the handler as Lambda's own runtime does, and then speaks the Runtime API: events and answers in
// frames over one connection (channel.go), streams and what goes wrong otherwise by HTTP.
//
// Functions for nodejs24.x and later follow the runtime client 4.x (no callbacks, nothing catches a stray rejection),
// older ones 3.x (callbacks, beforeExit, exit codes 128 and 129).
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { createRequire } from 'node:module';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { types } from 'node:util';

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const BASE = '/2018-06-01/runtime/';

// Loaded when it is needed: it is a fifth of the time that a start takes.
let loadedHTTP;
const http = () => loadedHTTP ??= process.getBuiltinModule?.('node:http') ?? createRequire(import.meta.url)('node:http');

const fault = (name, message, stack) => {
  const err = new Error(message);
  err.name = `Runtime.${name}`;
  err.stack = stack ?? `${err.name}: ${message}${err.stack.slice(err.stack.indexOf('\n    at'))}`;
  return err;
};

// describe gives an error the form that Lambda shows it in.
function describe(err) {
  const del = (s) => s?.replace(/\x7F/g, '%7F');
  try {
    const like = types.isNativeError(err) ||
      (err && [err.name, err.message, err.stack].every((s) => s && typeof s === 'string'));
    if (like) return { errorType: del(err.name), errorMessage: del(err.message), trace: del(err.stack).split('\n') };
    return { errorType: typeof err, errorMessage: err.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

// openInspector tells the server where a debugger can follow this process.
function openInspector() {
  const inspector = process.getBuiltinModule?.('node:inspector') ?? createRequire(import.meta.url)('node:inspector');
  inspector.open(0, '127.0.0.1');
  send('i', inspector.url());
}

// awaitBinding is readBinding for a process that a debugger may look at meanwhile.
async function awaitBinding() {
  const chunks = [];
  const buffer = Buffer.alloc(65536);
  for (;;) {
    const n = await new Promise((resolve) => fs.read(0, buffer, 0, buffer.length, null, (err, n) => resolve(err ? 0 : n)));
    if (n === 0) process.exit(0);
    chunks.push(Buffer.from(buffer.subarray(0, n)));
    if (buffer[n - 1] === 10) return bound(chunks);
  }
}

function readBinding() {
  const chunks = [];
  const buffer = Buffer.alloc(65536);
  for (;;) {
    let n;
    try {
      n = fs.readSync(0, buffer, 0, buffer.length, null);
    } catch (err) {
      if (err.code === 'EAGAIN') { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); continue; }
      if (err.code === 'EOF') n = 0; else throw err;
    }
    if (n === 0) process.exit(0); // the server went away
    chunks.push(Buffer.from(buffer.subarray(0, n)));
    if (buffer[n - 1] === 10) return bound(chunks);
  }
}

function bound(chunks) {
  try {
    fs.closeSync(0);
    fs.openSync(process.platform === 'win32' ? 'NUL' : '/dev/null'); // becomes descriptor 0
  } catch { /* a stdin that cannot be replaced does no harm */ }
  return JSON.parse(Buffer.concat(chunks).toString());
}

let agent, host, port;
let channel; // to the Runtime API of this worker
let received = Buffer.alloc(0); // of the channel, from the first frame that is not complete on
let upgraded = false;
let opened; // called with the upgrade
let waiting = null; // for an event
let asked = false; // the last answer asked for the next event
let clock = {}; // of the event under way: its deadline, or the time left while a debugger has stopped it

// connect opens the channel, and ends when it is open. It keeps the process alive only while an event is awaited.
function connect(address) {
  const split = address.lastIndexOf(':');
  host = address.slice(0, split);
  port = Number(address.slice(split + 1));
  channel = net.connect({ host, port, noDelay: true });
  channel.on('error', () => process.exit(1));
  channel.on('close', () => process.exit(1)); // nobody waits for us any more
  channel.on('data', onData);
  channel.write(`GET /sst/worker HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: Upgrade\r\nUpgrade: sst-worker/1\r\n\r\n`);
  return new Promise((open) => { opened = open; });
}

// onData puts the pieces of a large event together once, when all are there.
let pieces = [];
let pending = 0; // bytes in pieces
let wanted = 0; // bytes that make the next frame complete
function onData(chunk) {
  pieces.push(chunk);
  if ((pending += chunk.length) < wanted) return;
  received = pieces.length === 1 ? chunk : Buffer.concat(pieces, pending);
  take();
}

function take() {
  if (!upgraded) {
    const end = received.indexOf('\r\n\r\n');
    if (end < 0) return keep(0);
    if (!received.toString('latin1', 0, end).startsWith('HTTP/1.1 101')) process.exit(1);
    upgraded = true;
    if (waiting === null) channel.unref();
    opened();
    received = received.subarray(end + 4);
  }
  if (received.length < 8) return keep(8);
  const head = 8 + received.readUInt32BE(0);
  const end = head + received.readUInt32BE(4);
  if (received.length < end) return keep(end);
  const headers = JSON.parse(received.toString('utf8', 8, head));
  if (headers['lambda-runtime-aws-request-id'] === undefined) {
    const { 'sst-left-ms': left, 'sst-deadline-ms': deadline } = headers;
    Object.assign(clock, { left: Number(left), deadline: deadline && Number(deadline) });
    received = received.subarray(end);
    return take();
  }
  if (waiting === null) return keep(end);
  const body = received.toString('utf8', head, end);
  received = received.subarray(end);
  keep(8);
  channel.unref();
  const got = waiting;
  waiting = null;
  got({ headers, body });
  if (received.length > 0) setImmediate(take); // after the event has its clock
}

// keep leaves what was received for later, until there are so many bytes.
function keep(bytes) {
  pieces = received.length > 0 ? [received] : [];
  pending = received.length;
  wanted = bytes;
}

function send(kind, body) {
  const head = Buffer.allocUnsafe(5);
  head[0] = kind.charCodeAt(0);
  if (typeof body !== 'string') {
    head.writeUInt32BE(0, 1);
    channel.write(head);
    return;
  }
  const data = Buffer.from(body);
  head.writeUInt32BE(data.length, 1);
  channel.write(data.length < 65536 ? Buffer.concat([head, data]) : head);
  if (data.length >= 65536) channel.write(data);
}

const agentOf = () => agent ??= new (http().Agent)({ keepAlive: true, maxSockets: 1 });

// call makes one request of the Runtime API. A server that is gone ends the process: nobody waits for it any more.
function call(method, name, headers, body) {
  return new Promise((resolve) => {
    const req = http().request({ agent: agentOf(), host, port, method, path: BASE + name, headers }, (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers,
        body: chunks.length === 1 ? chunks[0] : Buffer.concat(chunks) }));
      res.on('error', () => process.exit(1));
    });
    req.on('error', () => process.exit(1));
    req.end(body);
  });
}

const post = (name, type, body) => {
  const data = Buffer.from(body);
  const headers = { 'Content-Type': 'application/json', 'Content-Length': data.length };
  if (type) headers['Lambda-Runtime-Function-Error-Type'] = type;
  return call('POST', name, headers, data);
};
const postError = (name, err) => {
  const shape = describe(err);
  return post(name, headerText(shape.errorType), JSON.stringify(shape));
};
const sendResult = (text) => { send('r', text); asked = true; };
const sendError = (err) => {
  const shape = describe(err);
  send('e', `${headerText(shape.errorType)}\n${JSON.stringify(shape)}`);
  asked = true;
};
const headerText = (s) => String(s).replace(/[^\x20-\x7e]/g, '?');

function stringify(value) {
  return JSON.stringify(value === undefined ? null : value) ?? 'null';
}

// ResponseStream is what a streaming handler writes to: one chunked request whose trailers can tell a late error.
class ResponseStream extends Writable {
  #req; #type = 'application/octet-stream'; #path; #done; #resolve;
  _onBeforeFirstWrite;
  constructor(id, highWaterMark) {
    super({ highWaterMark, decodeStrings: true });
    this.#path = `${BASE}invocation/${id}/response`;
    this.#done = new Promise((resolve) => { this.#resolve = resolve; });
  }
  setContentType(type) {
    if (this.#req) throw fault('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.#type = type;
  }
  write(chunk, ...rest) {
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) chunk = JSON.stringify(chunk);
    return super.write(chunk, ...rest);
  }
  #open() {
    if (this.#req) return this.#req;
    this.#req = http().request({ agent: agentOf(), host, port, method: 'POST', path: this.#path, headers: {
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      'Trailer': 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
      'Transfer-Encoding': 'chunked',
      'Content-Type': this.#type,
    } }, (res) => { res.resume(); res.on('end', this.#resolve); });
    this.#req.on('error', () => process.exit(1));
    this._onBeforeFirstWrite?.((chunk) => this.#req.write(chunk));
    return this.#req;
  }
  _write(chunk, encoding, callback) { this.#open().write(chunk, callback); }
  _final(callback) { this.#open().end(callback); }
  // fail ends the response with the error in its trailers.
  fail(err) {
    const shape = describe(err);
    const req = this.#open();
    if (!req.writableEnded) {
      req.addTrailers({
        'Lambda-Runtime-Function-Error-Type': headerText(shape.errorType),
        'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(shape)).toString('base64'),
      });
      req.end();
    }
    return this.#done;
  }
  sent() { return this.#done; }
}

function installGlobals() {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER] = parseInt(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from(stream, metadata) {
        stream.setContentType(PRELUDE_TYPE);
        const prelude = JSON.stringify(metadata);
        stream._onBeforeFirstWrite = (write) => { write(prelude); write(new Uint8Array(8)); };
        return stream;
      }
    },
  };
}

// isModule says whether .js files in dir are ES modules.
function isModule(dir) {
  for (;;) {
    if (dir.endsWith(`${path.sep}node_modules`)) return false;
    const file = path.join(dir, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8'))?.type === 'module';
      } catch (err) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, err);
        return false;
      }
    }
    const up = path.dirname(dir);
    if (up === dir) return false;
    dir = up;
  }
}

async function loadModule(root, folder, name) {
  const require = createRequire(path.join(root, 'index.js'));
  const base = path.resolve(root, folder, name);
  if (fs.statSync(base, { throwIfNoEntry: false })?.isFile()) return require(base);
  const esm = isModule(path.dirname(base));
  for (const ext of ['.js', '.mjs', '.cjs']) {
    if (!fs.existsSync(base + ext)) continue;
    return ext === '.mjs' || (ext === '.js' && esm) ? import(pathToFileURL(base + ext)) : require(base + ext);
  }
  return require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

async function loadHandler(root, handler) {
  if (handler.includes('..')) {
    throw fault('MalformedHandlerName',
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const file = path.posix.basename(handler);
  const folder = handler.slice(0, handler.length - file.length);
  const dot = file.indexOf('.');
  if (dot < 0) throw fault('MalformedHandlerName', 'Bad handler');
  let loaded;
  try {
    loaded = await loadModule(root, folder, file.slice(0, dot));
  } catch (err) {
    if (err instanceof SyntaxError) throw fault('UserCodeSyntaxError', String(err), err.stack);
    if (err?.code === 'MODULE_NOT_FOUND') throw fault('ImportModuleError', String(err));
    throw err;
  }
  const found = file.slice(dot + 1).split('.').reduce((value, key) => value && value[key], loaded);
  if (!found) throw fault('HandlerNotFound', `${handler} is undefined or not exported`);
  if (typeof found !== 'function') throw fault('HandlerNotFound', `${handler} is not a function`);
  return found;
}

function contextOf(headers) {
  const json = (name, text) => {
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch (err) {
      throw new Error(`Cannot parse ${name} as json: ${err}`);
    }
  };
  const left = headers['sst-left-ms'];
  const time = clock = left ? { left: Number(left) } : { deadline: Number(headers['lambda-runtime-deadline-ms']) };
  return {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: json('ClientContext', headers['lambda-runtime-client-context']),
    identity: json('CognitoIdentity', headers['lambda-runtime-cognito-identity']),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => (time.deadline ? time.deadline - Date.now() : time.left),
  };
}

async function next() {
  channel.ref();
  if (!asked) send('n');
  asked = false;
  const { headers, body } = await new Promise((got) => { waiting = got; take(); });
  const id = headers['lambda-runtime-aws-request-id'];
  globalThis[REQUEST_ID] = id;
  const trace = headers['lambda-runtime-trace-id'];
  if (trace) process.env._X_AMZN_TRACE_ID = trace; else delete process.env._X_AMZN_TRACE_ID;
  return { id, headers, body };
}

let onIdle = null; // what beforeExit does
let onStray = null; // what an uncaught error or rejection does, for runtimes before 24

async function streamingLoop(handler, legacy) {
  for (;;) {
    const inv = await next();
    const stream = new ResponseStream(inv.id, Number(handler[HIGH_WATER]) || undefined);
    const context = contextOf(inv.headers);
    if (legacy) context.callbackWaitsForEmptyEventLoop = true;
    onStray = (err, code) => postError(`invocation/${inv.id}/error`, err).then(() => process.exit(code));
    try {
      const result = handler(JSON.parse(inv.body), stream, context);
      if (typeof result?.then !== 'function') {
        await stream.fail('Streaming does not support non-async handlers.');
        continue;
      }
      if (await result !== undefined) console.warn('Streaming handlers ignore return values.');
      if (!stream.writableEnded) await stream.fail('Response stream is not finished.');
      else await stream.sent();
    } catch (err) {
      await stream.fail(err);
    }
    if (legacy && context.callbackWaitsForEmptyEventLoop) await new Promise((resolve) => { onIdle = resolve; });
    onIdle = null;
  }
}

async function promiseLoop(handler) {
  for (;;) {
    const inv = await next();
    let text;
    try {
      const result = await handler(JSON.parse(inv.body), contextOf(inv.headers));
      try {
        text = stringify(result);
      } catch {
        throw fault('JSONStringifyError', 'Unable to stringify response body');
      }
    } catch (err) {
      sendError(err);
      continue;
    }
    sendResult(text);
  }
}

// callbackLoop runs handlers of runtimes before 24: the first of callback, context.succeed, fail and done, a settled
// promise, or an event loop that ran dry decides.
async function callbackLoop(handler) {
  const isAsync = handler.constructor?.name === 'AsyncFunction';
  for (;;) {
    const inv = await next();
    await new Promise((ready) => {
      const path = `invocation/${inv.id}`;
      const fail = (err) => { onIdle = null; sendError(err); ready(); };
      const succeed = (result) => {
        let text;
        try {
          text = stringify(result);
        } catch {
          fail(new Error('Unable to stringify response body'));
          return;
        }
        onIdle = null;
        sendResult(text);
        ready();
      };
      let decided = false;
      const once = (decide) => (...args) => { if (!decided) { decided = true; decide(...args); } };
      let waits = true;
      const done = (err, result) => (err === undefined || err === null ? succeed(result) : fail(err));
      const callback = once((err, result) => {
        if ((err !== undefined && err !== null) || !waits) done(err, result);
        else onIdle = () => { onIdle = null; setImmediate(succeed, result); };
      });
      const context = {
        get callbackWaitsForEmptyEventLoop() { return waits; },
        set callbackWaitsForEmptyEventLoop(value) { waits = value; },
        succeed: once(succeed),
        fail: once((err) => fail(err ?? 'handled')),
        done: once(done),
      };
      onStray = (err, code) => postError(`${path}/error`, err).then(() => process.exit(code));
      onIdle = () => {
        onIdle = null;
        decided = true;
        if (!isAsync) return succeed(null);
        fail(fault('NodeJsExit', 'The Lambda runtime client detected an unexpected Node.js exit code. ' +
          'This is most commonly caused by a Promise that was never settled. ' +
          'For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes'));
      };
      try {
        Object.assign(context, contextOf(inv.headers));
        const result = handler(JSON.parse(inv.body), context, callback);
        if (typeof result?.then === 'function') result.then(context.succeed, context.fail);
      } catch (err) {
        callback(err);
      }
    });
  }
}

function catchStrays() {
  onStray = (err, code) => postError('init/error', err).then(() => process.exit(code));
  process.on('beforeExit', () => onIdle?.());
  process.on('uncaughtException', (err) => onStray(err, 129));
  process.on('unhandledRejection', (reason) => {
    const frames = types.isNativeError(reason) ? reason.stack.slice(reason.stack.indexOf('\n    at')) : '';
    onStray(fault('UnhandledPromiseRejection', String(reason), `Runtime.UnhandledPromiseRejection: ${reason}${frames}`), 128);
  });
}

async function main() {
  const open = connect(process.argv[2]);
  if (process.argv[3] === 'spare') {
    const ahead = process.argv[4];
    try {
      if (ahead) createRequire(import.meta.url)(ahead);
    } catch { /* whoever needs it says so */ }
    await open;
  }
  let bind;
  if (process.argv[3] === 'inspect') {
    await open;
    openInspector();
    bind = await awaitBinding();
  } else bind = readBinding();
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, bind.env);
  process.chdir(bind.task);
  process.argv.length = 2;
  const legacy = bind.major < 24;
  if (legacy) catchStrays();
  installGlobals();
  let handler, streaming;
  try {
    handler = await loadHandler(bind.task, bind.handler);
    streaming = handler[STREAMING];
    if (streaming && streaming !== 'response') {
      throw fault('MalformedStreamingHandler', 'Only response streaming is supported.');
    }
    if (!legacy && !streaming && handler.length >= 3) {
      throw fault('CallbackHandlerDeprecated', 'ERROR: AWS Lambda has removed support for callback-based function handlers ' +
        'starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
        'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.');
    }
  } catch (err) {
    await postError('init/error', err);
    process.exit(1);
  }
  if (streaming) await streamingLoop(handler, legacy);
  else if (legacy) await callbackLoop(handler);
  else await promiseLoop(handler);
}

// Not awaited at the top level: an event loop that runs dry then ends the process with code 0, as in Lambda.
main();
