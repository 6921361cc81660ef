// Runs examples of the CDK's documentation as they are meant: JavaScript in Node. The corpus test compiles them.
//
//   node node.js '{"dir": folder with node_modules, "root": working folder, "out": folder for assemblies}'
//
// Lines of JSON come in, {id, code, host}: a module whose export "host" is the class that the example is the constructor of, if
// there is one. Lines of JSON go out, {id, kind, templates} or {id, error}: all templates that are not empty, by file name.
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const Module = require('module');

const { dir, root, out } = JSON.parse(process.argv.at(-1));
const answer = fs.writeSync.bind(fs, 1);
Object.defineProperty(process, 'stdout', { configurable: true, get: () => process.stderr });
for (const f of ['log', 'info', 'debug', 'warn', 'error', 'dir', 'table']) console[f] = () => {};
process.stderr.write = () => true;
for (const f of ['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork']) {
  require('child_process')[f] = () => {
    throw new Error('this runs a command');
  };
}

// The same time and chance as in our host.
const RealDate = Date;
const now = RealDate.UTC(2000, 0, 1);
globalThis.Date = class Date extends RealDate {
  constructor(...args) {
    super(...(args.length > 0 ? args : [now]));
  }
  static now() {
    return now;
  }
};
let seed = 1;
Math.random = () => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return seed / 0x80000000;
};

process.chdir(root);
const requireCDK = Module.createRequire(path.join(dir, 'node_modules', 'index.js'));
const cdk = requireCDK('aws-cdk-lib');
const { Construct } = requireCDK('constructs');

let apps;
const decided = () => ({ outdir: path.join(out, String(apps.length)), treeMetadata: false, analyticsReporting: false, autoSynth: false });
class App extends cdk.App {
  constructor(props = {}) {
    super({ ...props, ...decided(), context: { 'aws:cdk:disable-creation-stack-traces': true, ...props.context } });
    apps.push(this);
  }
}
const lib = Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(cdk), App: { value: App, enumerable: true } });

function requireFor(name) {
  name = name.replace(/^(\.\.\/)+(?=aws-|core$)/, 'aws-cdk-lib/');
  if (name === 'aws-cdk-lib' || name === 'aws-cdk-lib/core') return lib;
  if (/^(aws-cdk-lib|constructs)(\/|$)/.test(name)) return requireCDK(name);
  if (name === 'path' || name === 'assert') return require(name);
  throw new Error(`needs the package ${name}`);
}

function templatesUnder(folder, found) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory() && entry.name.startsWith('assembly-')) templatesUnder(file, found);
    if (!entry.isFile() || !entry.name.endsWith('.template.json')) continue;
    const template = JSON.parse(fs.readFileSync(file, 'utf8'));
    for (const [section, name] of [['Parameters', 'BootstrapVersion'], ['Rules', 'CheckBootstrapVersion']]) {
      if (template[section] === undefined) continue;
      delete template[section][name];
      if (Object.keys(template[section]).length === 0) delete template[section];
    }
    if (Object.keys(template).length > 0) found[path.relative(out, file)] = template;
  }
}

function run({ id, code }) {
  fs.rmSync(out, { recursive: true, force: true });
  apps = [];
  seed = 1;
  cdk.AssetStaging.clearAssetHashCache();
  const module = { exports: {} };
  new Function('require', 'exports', 'module', '__dirname', '__filename', code)(requireFor, module.exports, module, root, path.join(root, 'main.ts'));
  const host = module.exports.host;
  let kind = '';
  if (typeof host === 'function' && host.prototype instanceof Construct) {
    const app = new App();
    if (host.prototype instanceof cdk.Stack && Object.getPrototypeOf(host) === cdk.Stack) {
      kind = 'stack';
      new host(app, 'Stack');
    } else if (Object.getPrototypeOf(host) === Construct) {
      kind = 'construct';
      new host(new cdk.Stack(app, 'Stack'), 'Construct');
    } else if (Object.getPrototypeOf(host) === cdk.Stage) {
      kind = 'stage';
      new host(app, 'Stage');
    } else {
      throw new Error(`stands in a class ${host.name} that is made in some other way`);
    }
  }
  const templates = {};
  for (const app of apps) templatesUnder(app.synth().directory, templates);
  return { id, kind, templates };
}

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
  const request = JSON.parse(line);
  let reply;
  try {
    reply = run(request);
  } catch (e) {
    reply = { id: request.id, error: String(e?.message ?? e).slice(0, 500) || 'error' };
  }
  let data = Buffer.from(JSON.stringify({ ...reply, rss: process.memoryUsage.rss() }) + '\n');
  while (data.length > 0) {
    try {
      data = data.subarray(answer(data));
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e;
    }
  }
});
