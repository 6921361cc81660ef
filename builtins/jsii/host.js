// The CDK's side of package jsii: a Node program that does what Go tells it.
//
// It is started as
//
//   node host.js '{"dir": folder with node_modules, "modules": modules.js, "warm": [classes to load early]}'
//
// and talks in lines of JSON over stdin and stdout, reading synchronously: there is no event loop to speak of, so CDK code
// can call back into Go in the middle of anything. Frames from Go:
//
//   {d, s, t, ops: [[kind, id, on, member, args, shape, tag], ...]}   do this; s: answer with the last result, 0: do not answer
//   {d, cb, v} or {d, cb, e}                                          the result or error of callback cb
//
// and to Go:
//
//   {hello: {...}}                       loaded and ready
//   {s, v} or {s, e}                     the answer to frame s
//   {cb, id, m, k, a, tag}               call (k: get, set, call) method m of Go's object id; operations may follow before its answer
//
// d is the depth of callbacks: frames that Go queued before a callback began wait until it is over. An operation that fails
// makes the following ones void until the next answer, which carries the error.
//
// Values in frames are JSON; {"$ref"}, {"$enum"}, {"$date"}, {"$map"}, {"$struct"}, {"$callback"} stand for what JSON has not.
'use strict';

const fs = require('fs');
const path = require('path');
const os = require('os');
const Module = require('module');

const options = JSON.parse(process.argv[2]);
const dir = fs.realpathSync(options.dir);

// Most hosts do one synth and end: optimizing their code costs more than it gains. So the V8 of Node 20 begins with it fifteen
// times later than it would; those of later versions are wiser, and know no such flag.
if (parseInt(process.versions.node) < 22) require('v8').setFlagsFromString('--interrupt-budget=2000000');
const saveModules = require(options.modules)(dir);

// ---------------------------------------------------------------- lines

const io = { readSync: fs.readSync, writeSync: fs.writeSync, realpath: fs.realpathSync.native };
const chunk = Buffer.allocUnsafe(1 << 16);
let pending = []; // pieces of a line that has not ended
let lines = []; // complete ones not taken yet, latest first

function readLine() {
  while (lines.length === 0) {
    let n;
    try {
      n = io.readSync(0, chunk, 0, chunk.length, null);
    } catch (e) {
      if (e.code === 'EAGAIN') continue;
      if (e.code !== 'EOF') throw e;
      n = 0;
    }
    if (n === 0) process.exit(0); // Go is gone or done with us
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) >= 0 && end < n; start = end + 1) {
      pending.push(Buffer.from(chunk.subarray(start, end)));
      lines.unshift(pending.length === 1 ? pending[0] : Buffer.concat(pending));
      pending = [];
    }
    if (start < n) pending.push(Buffer.from(chunk.subarray(start, n)));
  }
  return lines.pop().toString('utf8');
}

function write(frame) {
  let data = Buffer.from(JSON.stringify(frame) + '\n');
  while (data.length > 0) {
    try {
      data = data.subarray(io.writeSync(1, data));
    } catch (e) {
      if (e.code === 'EPIPE') process.exit(0);
      if (e.code !== 'EAGAIN') throw e;
    }
  }
}

// What CDK code prints goes to stderr: stdout is ours.
Object.defineProperty(process, 'stdout', { configurable: true, get: () => process.stderr });
for (const f of ['log', 'info', 'debug', 'dir', 'table']) console[f] = console.error;

// ---------------------------------------------------------------- no clock, no chance

const RealDate = Date;
const now = RealDate.UTC(2000, 0, 1);
function PinnedDate(...args) {
  if (!new.target) return new RealDate(now).toString();
  return Reflect.construct(RealDate, args.length > 0 ? args : [now], new.target === PinnedDate ? RealDate : new.target);
}
PinnedDate.prototype = RealDate.prototype;
PinnedDate.prototype.constructor = PinnedDate;
PinnedDate.now = () => now;
PinnedDate.parse = RealDate.parse;
PinnedDate.UTC = RealDate.UTC;
globalThis.Date = PinnedDate;

let seed = 1;
Math.random = () => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return seed / 0x80000000;
};

// ---------------------------------------------------------------- files and commands

const session = { root: '', realRoot: '', outdirs: [], exec: false, files: new Map(), libraries: '', names: [] };

class Refused extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

const under = (p, d) => d !== '' && (p === d || p.startsWith(d.endsWith(path.sep) ? d : d + path.sep));
const inRoot = (p) => under(p, session.root) || under(p, session.realRoot);

// check says what to do with a read of a path: 'record' it, 'pass' it, or 'hide' what is there. It throws when the read is refused.
function check(p, existence) {
  if (under(p, dir) || under(p, options.dir) || under(p, session.libraries) || session.outdirs.some((d) => under(p, d))) return 'pass';
  if (session.root === '') return 'record';
  if (inRoot(p)) {
    let real;
    try {
      real = io.realpath(p);
    } catch {
      return 'record'; // not there, which is for the caller to find out
    }
    if (inRoot(real) || under(real, dir)) return 'record';
    throw new Refused('ReadRefused', `${p} is a link to ${real}, outside of ${session.root}: the CDK reads only files of the project`);
  }
  if (p === os.devNull) return 'pass';
  if (existence) {
    if (under(session.root, p) || under(session.realRoot, p)) return 'pass'; // a folder that the project is in
    const parent = path.dirname(p);
    if (under(session.root, parent) || under(session.realRoot, parent)) return 'hide'; // looking upwards for a lock file and the like
  }
  throw new Refused('ReadRefused', `${p} is outside of ${session.root}: the CDK reads only files of the project`);
}

function record(p, kind) {
  const have = session.files.get(p);
  if (have === 'file' || have === 'dir') return;
  session.files.set(p, kind);
}

function pathOf(p) {
  if (typeof p === 'string') return path.resolve(p);
  if (Buffer.isBuffer(p)) return path.resolve(p.toString());
  if (p instanceof URL) return require('url').fileURLToPath(p);
  return undefined; // a file descriptor, or nonsense that the real function will complain about
}

function watch(name, kind, { writes = () => false, absent } = {}) {
  const real = fs[name];
  const existence = kind === 'exists';
  function watched(...args) {
    const p = pathOf(args[0]);
    if (p === undefined || writes(args)) return real.apply(this, args);
    switch (check(p, existence)) {
      case 'pass':
        return real.apply(this, args);
      case 'hide':
        return absent(p, args);
    }
    let result;
    try {
      result = real.apply(this, args);
    } catch (e) {
      if (e.code === 'ENOENT' || e.code === 'ENOTDIR') record(p, 'missing');
      throw e;
    }
    record(p, existence && (result === false || result === undefined && name !== 'accessSync') ? 'missing' : kind);
    return result;
  }
  fs[name] = Object.assign(watched, real);
}

function noEntry(call) {
  return (p, args) => {
    if (args[1] && args[1].throwIfNoEntry === false) return undefined;
    throw Object.assign(new Error(`ENOENT: no such file or directory, ${call} '${p}'`), { code: 'ENOENT', errno: -2, syscall: call, path: p });
  };
}

const opensForWriting = (args) => {
  const flags = args[1] === undefined ? 'r' : args[1];
  return typeof flags === 'string' ? /[wa]/.test(flags) : (flags & 3) !== 0;
};
watch('readFileSync', 'file');
watch('openSync', 'file', { writes: opensForWriting });
watch('copyFileSync', 'file');
watch('createReadStream', 'file');
watch('readdirSync', 'dir');
watch('opendirSync', 'dir');
watch('existsSync', 'exists', { absent: () => false });
watch('statSync', 'exists', { absent: noEntry('stat') });
watch('lstatSync', 'exists', { absent: noEntry('lstat') });
watch('accessSync', 'exists', { absent: noEntry('access') });
watch('readlinkSync', 'exists', { absent: noEntry('readlink') });

// Temporary folders that CDK code makes are its own; what else lies beside them is not.
const { mkdtempSync } = fs;
fs.mkdtempSync = function (...args) {
  const made = mkdtempSync.apply(this, args);
  session.outdirs.push(path.resolve(made), io.realpath(made));
  return made;
};

const childProcess = require('child_process');
for (const name of ['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork']) {
  const real = childProcess[name];
  childProcess[name] = function (command, args, ...rest) {
    if (!session.exec) {
      const words = [command, ...(Array.isArray(args) ? args : [])].join(' ');
      throw new Refused('ExecRefused', `this runs a command, which is not allowed: ${words.length > 200 ? words.slice(0, 200) + '...' : words}`);
    }
    return real.call(this, command, args, ...rest);
  };
}

// ---------------------------------------------------------------- the CDK

const requireCDK = Module.createRequire(path.join(dir, 'node_modules', 'index.js'));

// Tokens made while a module is loading live as long as the process; all others belong to a session.
let loading = 0;
const load = Module.prototype.load;
Module.prototype.load = function (file) {
  loading++;
  try {
    return load.call(this, file);
  } finally {
    loading--;
  }
};

const cdk = requireCDK('aws-cdk-lib');
const { Construct } = requireCDK('constructs');
const internal = (file) => requireCDK(path.join(dir, 'node_modules', 'aws-cdk-lib', 'core', 'lib', file));

// Tokens are numbered, and their text shows in sorted lists and lengths of strings. The numbers start over with each session,
// and constants have numbers of their own that do not depend on when their module was loaded, so that a warm host and a fresh
// one make the same tokens. The CDK keeps a token's text on the token; here it is kept per session.
const { TokenMap } = internal('private/token-map.js');
const encoding = internal('private/encoding.js');
const constants = { strings: new Map(), numbers: new Map(), counter: 2 ** 32, names: new Map() };
let texts = { string: new Map(), list: new Map(), number: new Map() };
const constantTexts = { string: new Map(), list: new Map(), number: new Map() };

function textOf(kind, token, make) {
  let text = texts[kind].get(token) ?? constantTexts[kind].get(token);
  if (text === undefined) {
    text = make();
    (loading > 0 ? constantTexts : texts)[kind].set(token, text);
  }
  return text;
}

TokenMap.prototype.registerString = function (token, hint) {
  return textOf('string', token, () => encoding.BEGIN_STRING_TOKEN_MARKER + this.registerStringKey(token, hint) + encoding.END_TOKEN_MARKER);
};
TokenMap.prototype.registerList = function (token, hint) {
  return textOf('list', token, () => [encoding.BEGIN_LIST_TOKEN_MARKER + this.registerStringKey(token, hint) + encoding.END_TOKEN_MARKER]);
};
TokenMap.prototype.registerNumber = function (token) {
  return textOf('number', token, () => this.registerNumberKey(token));
};
const { registerStringKey, registerNumberKey } = TokenMap.prototype;
TokenMap.prototype.registerStringKey = function (token, hint) {
  if (loading === 0) return registerStringKey.call(this, token, hint);
  const name = (hint || 'TOKEN').replace(new RegExp(`[^${encoding.VALID_KEY_CHARS}]`, 'g'), '.');
  const n = constants.names.get(name) ?? 0;
  constants.names.set(name, n + 1);
  const key = `${name}.c${n}`;
  constants.strings.set(key, token);
  this.stringTokenMap.set(key, token);
  return key;
};
TokenMap.prototype.registerNumberKey = function (token) {
  if (loading === 0) return registerNumberKey.call(this, token);
  const counter = constants.counter++;
  const number = encoding.createTokenDouble(counter);
  constants.numbers.set(counter, token);
  constants.strings.set(`${number}`, token);
  this.numberTokenMap.set(counter, token);
  this.stringTokenMap.set(`${number}`, token);
  return number;
};
function forgetTokens() {
  const map = TokenMap.instance();
  map.stringTokenMap = new Map(constants.strings);
  map.numberTokenMap = new Map(constants.numbers);
  map.tokenCounter = 0;
  map.fragments = undefined; // of texts with tokens: modules.js
  texts = { string: new Map(), list: new Map(), number: new Map() };
}

// Where a construct stands and what it is called there never change, but the CDK works it out again for each mention: a sixth
// of a large synth.
const { Node } = requireCDK('constructs');
const kept = { path: Symbol('path'), logicalId: Symbol('logicalId') };
const { get: pathOfNode } = Object.getOwnPropertyDescriptor(Node.prototype, 'path');
Object.defineProperty(Node.prototype, 'path', {
  configurable: true,
  get() {
    return (this[kept.path] ??= pathOfNode.call(this));
  },
});
Object.defineProperty(Node.prototype, 'scopes', {
  configurable: true,
  get() {
    const found = [];
    for (let c = this.host; c; c = c.node.scope) found.push(c);
    return found.reverse();
  },
});
const { allocateLogicalId } = cdk.Stack.prototype;
cdk.Stack.prototype.allocateLogicalId = function (element) {
  return (element[kept.logicalId] ??= allocateLogicalId.call(this, element));
};

// Lookups that the context does not answer, by key: what is asked, and the operation that asks first.
const missing = new Map();
const { reportMissingContextKey } = cdk.Stack.prototype;
cdk.Stack.prototype.reportMissingContextKey = function (report) {
  if (!missing.has(report.key)) missing.set(report.key, { key: report.key, provider: report.provider, props: report.props, tag });
  return reportMissingContextKey.call(this, report);
};

// The CDK remembers fingerprints of files in the user's home, by size and time: neither ours to write nor safe enough to read.
const { FingerprintDiskCache } = internal('fs/fingerprint-disk-cache.js');
FingerprintDiskCache.prototype._load = function () {
  return (this.cache ??= new Map());
};
FingerprintDiskCache.prototype.save = () => {};

// Libraries of a project lie in a folder of their own. They get the CDK and the constructs that are loaded already: with another copy
// nothing of theirs would be a construct. What else they need they bring along.
const resolveName = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  const from = parent?.filename;
  if (typeof from !== 'string' || !under(from, session.libraries)) return resolveName.call(this, request, parent, ...rest);
  if (/^(aws-cdk-lib|constructs)(\/|$)/.test(request)) return requireCDK.resolve(request);
  const name = resolveName.call(this, request, parent, ...rest);
  if (Module.isBuiltin(name) || under(name, session.libraries)) return name;
  throw new Error(`${request} is not part of the library ${from}`);
};

function useLibraries({ dir, names }) {
  if (session.libraries !== dir) {
    for (const fqn of classes.keys()) if (session.names.some((name) => fqn.startsWith(name + '.'))) classes.delete(fqn);
  }
  session.libraries = dir === '' ? '' : io.realpath(dir);
  session.names = names;
}

const classes = new Map();
function lookup(fqn) {
  let found = classes.get(fqn);
  if (found === undefined) {
    const library = session.names.find((name) => fqn.startsWith(name + '.'));
    const assembly = library ?? fqn.slice(0, fqn.indexOf('.'));
    const from = library ? require(path.join(session.libraries, 'node_modules', library)) : assembly === 'aws-cdk-lib' ? cdk : requireCDK(assembly);
    found = fqn.slice(assembly.length + 1).split('.').reduce((o, name) => o?.[name], from);
    if (found === undefined) throw new Error(`the CDK has no ${fqn}`);
    classes.set(fqn, found);
  }
  return found;
}
options.warm.forEach(lookup); // modules load with the first use of a class

// The first stack without a region makes the tokens of its zones for all that follow, in whatever session. Made here, they are
// constants.
loading++;
const anywhere = { account: cdk.Aws.ACCOUNT_ID, region: cdk.Aws.REGION, node: { tryGetContext: () => undefined }, azLiteralWarningSilenced: true };
void Object.assign(Object.create(cdk.Stack.prototype), anywhere).availabilityZones;
loading--;

// ---------------------------------------------------------------- objects

let objects; // id → object; several ids may have the same one
let ids; // object → its id: the first that it had
let created; // construct → id, of those that Go made
let callbacks; // Go's id → the object that stands for it
let ours; // the object that stands for it → Go's id
let nextID; // for objects that Go has given no id: negative

function begin({ root, outdir, exec }) {
  objects = new Map();
  ids = new Map();
  created = new Map();
  callbacks = new Map();
  ours = new Map();
  nextID = -1;
  session.root = root;
  session.realRoot = root === '' ? '' : io.realpath(root);
  session.outdirs = outdir === '' ? [] : [path.resolve(root, outdir)];
  session.exec = exec;
  session.files = new Map();
  missing.clear();
  if (root !== '') process.chdir(root);
  if (outdir === '') delete process.env.CDK_OUTDIR;
  else process.env.CDK_OUTDIR = outdir;
  seed = 1;
  forgetTokens();
  cdk.AssetStaging.clearAssetHashCache();
}

function object(id) {
  const found = objects.get(id);
  if (found === undefined) throw new Error(objects.has(id) ? 'there is no value to use: the CDK gave none' : `unknown object ${id}`);
  return found;
}

function idOf(value, given) {
  let id = ids.get(value);
  if (id === undefined) {
    id = given > 0 ? given : nextID--;
    ids.set(value, id);
    objects.set(id, value);
  }
  return id;
}

const rtti = Symbol.for('jsii.rtti');
const names = new WeakMap(); // prototype → FQN
function fqnOf(value) {
  const start = Object.getPrototypeOf(value);
  if (start === null) return '';
  let name = names.get(start);
  if (name === undefined) {
    name = '';
    for (let p = start; p !== null && name === ''; p = Object.getPrototypeOf(p)) {
      if (Object.hasOwn(p, 'constructor') && Object.hasOwn(p.constructor, rtti)) name = p.constructor[rtti].fqn;
    }
    names.set(start, name);
  }
  return name;
}

function refTo(value, given) {
  const mine = ours.get(value);
  if (mine !== undefined) return { $callback: mine };
  return { $ref: idOf(value, given), $fqn: fqnOf(value) };
}

// ---------------------------------------------------------------- values

const structs = new Map(); // FQN → {field: shape}, sent by Go before their first use

function isPlain(value) {
  const proto = Object.getPrototypeOf(value);
  return proto === Object.prototype || proto === null;
}

// encode makes JSON of a value that was declared to be of some shape:
//   p  a primitive       r  an object     d  a date       a  anything
//   {e: fqn} an enum     {l: shape} a list     {m: shape} a map     {s: fqn} a struct by value
// A token may stand in place of anything, so each falls back on what the value is.
function encode(value, shape, given) {
  if (value === undefined || value === null) return null;
  switch (typeof value) {
    case 'string':
    case 'number':
      if (shape !== null && typeof shape === 'object' && shape.e !== undefined) {
        const type = lookup(shape.e);
        for (const name of Object.keys(type)) {
          if (type[name] === value && !/^-?\d+$/.test(name)) return { $enum: [shape.e, name] };
        }
      }
      if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`the number ${value} cannot be passed on`);
      return value;
    case 'boolean':
      return value;
    case 'bigint':
      return Number(value);
    case 'object':
      break;
    default:
      throw new Error(`a ${typeof value} cannot be passed on`);
  }
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Promise) throw new Error('this is asynchronous, which cannot be waited for');
  if (shape === 'r') return refTo(value, given);
  if (Array.isArray(value)) {
    const of = shape?.l ?? 'a';
    return value.map((v) => encode(v, of));
  }
  const plain = isPlain(value);
  if (shape?.s !== undefined && (plain || ids.get(value) === undefined)) {
    const fields = structs.get(shape.s);
    const out = {};
    for (const name of Object.keys(fields)) {
      const v = encode(value[name], fields[name]);
      if (v !== null) out[name] = v;
    }
    return { $struct: shape.s, f: out };
  }
  if (!plain || ours.has(value) || ids.has(value)) return refTo(value, given);
  const of = shape?.m ?? 'a';
  const out = {};
  let special = false;
  for (const name of Object.keys(value)) {
    if (value[name] === undefined || typeof value[name] === 'function') continue;
    special ||= name.startsWith('$');
    out[name] = encode(value[name], of);
  }
  return special ? { $map: out } : out;
}

// decode makes values of JSON, in place.
function decode(v) {
  if (v === null || typeof v !== 'object') return v;
  if (Array.isArray(v)) {
    for (let i = 0; i < v.length; i++) {
      if (v[i] !== null && typeof v[i] === 'object') v[i] = decode(v[i]);
    }
    return v;
  }
  for (const name in v) {
    if (name.charCodeAt(0) === 36) return special(v); // "$": the first key of the forms below, never of a plain map
    break;
  }
  return decodeFields(v);
}

function decodeFields(v) {
  for (const name in v) {
    const old = v[name];
    if (old === null || typeof old !== 'object') continue;
    const made = decode(old);
    if (made !== old) v[name] = made;
  }
  return v;
}

function special(v) {
  if ('$ref' in v) return object(v.$ref);
  if ('$enum' in v) {
    const type = lookup(v.$enum[0]);
    if (!Object.hasOwn(type, v.$enum[1])) throw new Error(`${v.$enum[0]} has no ${v.$enum[1]}`);
    return type[v.$enum[1]];
  }
  if ('$date' in v) return new Date(v.$date);
  if ('$map' in v) return decodeFields(v.$map);
  if ('$callback' in v) return callbackObject(v.$callback);
  throw new Error(`unknown value ${JSON.stringify(v)}`);
}

const argument = (v) => (v === null ? undefined : decode(v));

// ---------------------------------------------------------------- callbacks

let callbackNumber = 0;
let depth = 0;
let tag = 0; // of the operation that runs
let failedCallback = 0; // the last one that Go answered with an error during this operation

class CallbackError extends Error {}

function callGo(id, method, kind, args, result) {
  const cb = ++callbackNumber;
  write({ cb, id, m: method, k: kind, a: args, tag });
  const outer = tag;
  depth++;
  try {
    return serve(cb);
  } finally {
    depth--;
    tag = outer;
  }
}

function callbackObject({ id, fqn, class: isClass, methods, args }) {
  const known = callbacks.get(id);
  if (known !== undefined) return known;
  let made;
  if (isClass) {
    const base = lookup(fqn);
    const Derived = class extends base {};
    install(Derived.prototype);
    made = new Derived(...args.map(argument));
  } else {
    made = {};
    if (fqn === 'aws-cdk-lib.IResolvable') {
      made.creationStack = [];
      made.toString = () => cdk.Token.asString(made);
    }
    install(made);
  }
  callbacks.set(id, made);
  ours.set(made, id);
  return made;

  function install(on) {
    for (const [name, m] of Object.entries(methods)) {
      if (m.property) {
        Object.defineProperty(on, name, {
          enumerable: true,
          configurable: true,
          get: () => callGo(id, name, 'get', []),
          set: (v) => callGo(id, name, 'set', [encode(v, m.shape)]),
        });
      } else {
        const value = (...given) => callGo(id, name, 'call', given.map((v, i) => encode(v, m.params[i] ?? m.rest ?? 'a')));
        Object.defineProperty(on, name, { enumerable: true, configurable: true, writable: true, value });
      }
    }
  }
}

// ---------------------------------------------------------------- operations

// Each gets (id, on, member, args) of its frame; on is an object's id or the FQN of a class.
const operations = {
  begin: (id, on, member, args) => begin(args[0]),
  create(id, fqn, member, args) {
    const made = new (lookup(fqn))(...args.map(argument));
    objects.set(id, made);
    if (!ids.has(made)) ids.set(made, id);
    if (Construct.isConstruct(made)) created.set(made, id);
    if (cdk.App.isApp(made)) session.outdirs.push(path.resolve(made.outdir));
    return made;
  },
  call(id, on, member, args) {
    const target = object(on);
    return method(target, member).apply(target, args.map(argument));
  },
  callStatic(id, fqn, member, args) {
    const target = lookup(fqn);
    return method(target, member).apply(target, args.map(argument));
  },
  get: (id, on, member) => object(on)[member],
  set: (id, on, member, args) => void (object(on)[member] = argument(args[0])),
  getStatic: (id, fqn, member) => lookup(fqn)[member],
  setStatic: (id, fqn, member, args) => void (lookup(fqn)[member] = argument(args[0])),
  resolve: (id, on) => {
    if (!objects.has(on)) throw new Error(`unknown object ${on}`);
    return objects.get(on);
  },
  placeholderCode: (id, on, member, args) => new (placeholderClass())(args[0]),
  logicalId(id, on) {
    let c = object(on);
    if (!cdk.CfnElement.isCfnElement(c)) c = c.node.defaultChild;
    if (!c || !cdk.CfnElement.isCfnElement(c)) throw new Error(`${object(on).node.path || 'the app'} has no resource of its own`);
    return cdk.Stack.of(c).resolve(c.logicalId);
  },
  nodePath: (id, on) => object(on).node.path,
  missing: () => [...missing.values()],
  libraries: (id, on, member, args) => useLibraries(args[0]),
  fail: (id, on, member, args) => {
    throw new Error(args[0]);
  },
  synth,
};

function method(target, name) {
  const f = target[name];
  if (typeof f !== 'function') throw new Error(`${fqnOf(target) || target.name || 'the object'} has no method ${name}`);
  return f;
}

// The code of a function that is bundled after synth: an asset whose hash is a key until then.
let Placeholder;
function placeholderClass() {
  return (Placeholder ??= class extends cdk.aws_lambda.Code {
    isInline = false;
    constructor(key) {
      super();
      this.key = key;
    }
    bind(scope) {
      const at = cdk.Stack.of(scope).synthesizer.addFileAsset({ sourceHash: this.key, fileName: `asset.${this.key}.zip`, packaging: 'file' });
      return { s3Location: { bucketName: at.bucketName, objectKey: at.objectKey } };
    }
  });
}

function synth(id, on) {
  const app = object(on);
  let assembly;
  try {
    assembly = app.synth();
  } catch (e) {
    if (e instanceof Error) e.findings = findings(app, true);
    throw e;
  }
  const paths = {};
  for (const [construct, of] of created) paths[of] = construct.node.path;
  return {
    dir: assembly.directory,
    paths,
    messages: findings(app, false),
    files: [...session.files].map(([name, kind]) => ({ name, kind })),
    rss: process.memoryUsage.rss(),
  };
}

const levels = { 'aws:cdk:info': 'info', 'aws:cdk:warning': 'warning', 'aws:cdk:error': 'error' };

// findings lists what constructs have to say: annotations, and after a failed validation its errors.
function findings(app, validate) {
  const all = [];
  for (const construct of app.node.findAll()) {
    const add = (level, message) => {
      let c = construct;
      while (c && !created.has(c)) c = c.node.scope;
      all.push({ level, path: construct.node.path, id: c ? created.get(c) : 0, message: String(message) });
    };
    for (const m of construct.node.metadata) {
      if (levels[m.type] !== undefined) add(levels[m.type], m.data);
    }
    if (!validate) continue;
    try {
      construct.node.validate().forEach((m) => add('error', m));
    } catch {
      // what it throws is the error that is being reported
    }
  }
  return all;
}

// ---------------------------------------------------------------- the conversation

const waiting = []; // frames of outer depths that came early

function next() {
  const i = waiting.findIndex((f) => f.d === depth);
  if (i >= 0) return waiting.splice(i, 1)[0];
  for (;;) {
    const frame = JSON.parse(readLine());
    for (const fqn in frame.t) structs.set(fqn, frame.t[fqn]); // also what a frame that waits describes: others rely on it
    if (frame.d === depth) return frame;
    waiting.push(frame);
  }
}

// serve does operations until Go answers the callback; 0 is for ever.
function serve(callback) {
  let failure = null;
  for (;;) {
    const frame = next();
    if (frame.cb !== undefined) {
      if (frame.cb !== callback) throw new Error(`answer to callback ${frame.cb}, expected ${callback}`);
      if (frame.e !== undefined) {
        failedCallback = callback;
        throw new CallbackError(frame.e);
      }
      if (failure !== null) throw failure.error;
      return argument(frame.v);
    }
    let result = null;
    for (const [kind, id, on, member, args, shape, of] of frame.ops) {
      if (failure !== null) break;
      tag = of;
      const outer = failedCallback;
      failedCallback = 0;
      try {
        const value = operations[kind](id, on, member, args);
        if (id > 0 && kind !== 'create') adopt(id, value, shape);
        result = shape === null || frame.s === 0 ? null : shape === 'j' ? value : encode(value, shape, id);
      } catch (error) {
        failure = { error, tag: of, callback: failedCallback };
      } finally {
        failedCallback = outer;
      }
    }
    if (frame.s === 0) continue;
    if (failure === null) write({ s: frame.s, v: result });
    else write({ s: frame.s, e: describe(failure) });
    failure = null;
    if (frame.ops.length > 0 && frame.ops.at(-1)[0] === 'synth') saveModules(); // while nobody waits
  }
}

// adopt gives a result the id that Go chose, also when it is an object that has one already, or no object at all.
function adopt(id, value, shape) {
  objects.set(id, value ?? undefined);
  if (value === null || typeof value !== 'object' || ids.has(value) || ours.has(value)) return;
  if (shape === 'r' || !Array.isArray(value) && !isPlain(value)) ids.set(value, id);
}

function describe({ error, tag, callback }) {
  if (!(error instanceof Error)) return { tag, name: 'Error', message: String(error), stack: '', path: '', callback };
  return {
    tag,
    callback,
    name: String(error.name),
    message: String(error.message),
    stack: String(error.stack),
    path: error.constructPath ?? '',
    findings: error.findings,
    code: error.code,
  };
}

write({ hello: { node: process.versions.node, cdk: requireCDK('aws-cdk-lib/package.json').version } });
serve(0);
