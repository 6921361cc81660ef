// Loading the CDK's modules fast: host.js hands their loading to this file.
//
// Half of a cold start was Node finding some 300 files and V8 compiling them. So what was loaded once is kept in one file
// beside the unpacked CDK, the pack: for each module its source and what V8 made of it, functions that have run included, and
// for each require what it found. The folder never changes after it was unpacked, so nothing has to be looked at again.
// A pack is of one version of Node; without one, or with one that V8 refuses, modules are loaded from their files.
'use strict';

const fs = require('fs');
const path = require('path');
const vm = require('vm');
const Module = require('module');

const { openSync, readSync, closeSync, writeFileSync, renameSync, rmSync, readFileSync, readdirSync, statSync } = fs; // host.js watches those that others use

const few = 8; // modules that are not worth a new pack
const maxBytes = 64 << 20; // a pack larger than this grows no more

// Two files of the CDK get other sources, and some are edited (see edits). The validators of deprecated names do nothing when told to be quiet, but take their
// time. The facts about regions are registered by 1.3 MB of calls: kept as data once they have run.
const validators = 'node_modules/aws-cdk-lib/.warnings.jsii.js';
const facts = 'node_modules/aws-cdk-lib/region-info/lib/built-ins.generated.js';
const standIns = {
  [validators]: `
const nop = () => {};
class DeprecationError extends Error {}
const known = { print: nop, DeprecationError, getPropertyDescriptor(o, name) {
  for (; o; o = Object.getPrototypeOf(o)) {
    const found = Object.getOwnPropertyDescriptor(o, name);
    if (found) return found;
  }
  return {};
} };
module.exports = Object.assign(Object.create(new Proxy({}, {
  get(target, name, on) {
    Object.defineProperty(on, name, { value: nop });
    return nop;
  },
})), known);`,
};

const factsSource = (json) => `
const { Fact } = require('./fact');
exports.BuiltIns = class BuiltIns {
  static register() {
    const all = JSON.parse(${JSON.stringify(json)});
    for (const region in all) Object.assign((Fact.database[region] ??= Object.create(null)), all[region]);
  }
};`;

// edits make the CDK do less for the same templates: what is replaced, and by what. Nothing is edited in a file where that is not
// found, once; a test says so. docs/decisions/jsii-edits.md tells what each is worth.
const edits = {
  // Resolving a token made two copies of the path to it and of the options, and split the same texts again and again.
  'node_modules/aws-cdk-lib/core/lib/private/resolve.js': [
    [
      'function makeContext(options,prefix){const documentPath=prefix.slice(),context={preparing:options.preparing,scope:options.scope,documentPath,' +
        'registerPostProcessor(pp){context._postProcessor=pp},resolve(x,changeOptions){const newOptions=changeOptions?{...options,...changeOptions,' +
        'prefix:documentPath}:{...options,prefix:documentPath};return resolve(x,newOptions)}};return context}',
      `class Context {
        constructor(options, prefix) {
          const depth = prefix.length;
          this.preparing = options.preparing;
          this.scope = options.scope;
          this._path = prefix;
          this._depth = depth;
          this._postProcessor = undefined;
          this.registerPostProcessor = (pp) => { this._postProcessor = pp; };
          this.resolve = (x, changes) => {
            const path = prefix.length === depth ? prefix : prefix.slice(0, depth);
            return changes ? resolve(x, { ...options, ...changes, prefix: path }) : _resolve(x, options, path, options.removeEmpty === false);
          };
        }
        get documentPath() { return this._path.slice(0, this._depth); }
      }
      function makeContext(options, prefix) { return new Context(options, prefix); }`,
    ],
    [
      'const str=encoding_1().TokenString.forString(obj);if(str.test()){const fragments=str.split(lookupToken);return',
      'const fragments=fragmentsOf(obj);if(fragments!==null){return',
    ],
    [
      'function couldContainToken(s){',
      'function fragmentsOf(text){const known=tokenMap.fragments??=new Map;let f=known.get(text);if(f===undefined){const str=encoding_1().TokenString.forString(text);f=str.test()?str.split(lookupToken):null;known.set(text,f)}return f}function couldContainToken(s){',
    ],
    [
      'return typeof value!="object"||value==null||Object.defineProperty(',
      'return typeof value!="object"||value==null||value[RESOLUTION_TYPEHINT_SYM]===typeHint||Object.defineProperty(',
    ],
  ],
  // A key of a token compiled the same expression each time.
  'node_modules/aws-cdk-lib/core/lib/private/token-map.js': [
    ['.replace(new RegExp(`[^${encoding_1().VALID_KEY_CHARS}]`,"g"),".")', '.replace(invalid??=new RegExp(`[^${encoding_1().VALID_KEY_CHARS}]`,"g"),".")'],
    ['class TokenMap{', 'let invalid;class TokenMap{'],
  ],
  // Tokens have many classes, for which V8 assigns fields sooner than it declares them.
  'node_modules/aws-cdk-lib/core/lib/private/intrinsic.js': [
    ['creationStack;typeHint;value;constructor(value,options={}){', 'constructor(value,options={}){this.creationStack=void 0;this.typeHint=void 0;this.value=void 0;'],
  ],
  // Asked for each resource and each call, of an environment that has no such variable.
  'node_modules/aws-cdk-lib/core/lib/debug.js': [['function debugModeEnabled(){', 'function debugModeEnabled(){return!1;']],
  // While it looks for references, statements need not be in order, nor different from each other.
  'node_modules/aws-cdk-lib/aws-iam/lib/policy-document.js': [
    ['const sort=this.shouldMerge(context.scope);return context', 'if(context.preparing)return this.render();const sort=this.shouldMerge(context.scope);return context'],
  ],
  // While it looks for references, which lie in what was resolved, it needs no properties under the names of CloudFormation.
  'node_modules/aws-cdk-lib/core/lib/cfn-resource.js': [
    [
      '(resourceDef,context)=>{const renderedProps=',
      '(resourceDef,context)=>{if(context.preparing){context.resolve(this.rawOverrides,{removeEmpty:!1});return resourceDef}const renderedProps=',
    ],
  ],
  // It asks each construct and each call whether they are to be counted, up to the root, although nobody has set that flag.
  'node_modules/aws-cdk-lib/core/lib/metadata-resource.js': [
    ['function addPropsAsMetadata(construct,type,props){', 'function addPropsAsMetadata(construct,type,props){if(!counting())return;'],
    [
      'function addConstructMetadata(construct,props){',
      'const{Node}=constructs_1(),{setContext}=Node.prototype;let counted;Node.prototype.setContext=function(key,value){if(key===cx_api_1().ENABLE_ADDITIONAL_METADATA_COLLECTION)counted=!0;return setContext.call(this,key,value)};function counting(){return counted}function addConstructMetadata(construct,props){',
    ],
  ],
};

function edited(name, source) {
  const wanted = edits[name] ?? [];
  if (wanted.some(([from]) => source.split(from).length !== 2)) return source;
  return wanted.reduce((text, [from, to]) => text.split(from).join(to), source);
}

// install takes over the loading of modules in dir, and returns save, which writes down what was learned.
module.exports = function install(dir) {
  const prefix = dir.endsWith(path.sep) ? dir : dir + path.sep;
  const file = `${prefix}${path.basename(__filename, '.js')}-${process.version}-${process.arch}.pack`; // another modules.js, another pack
  const loaded = new Map(); // name → {source, script}
  const found = {}; // what was found by looking: name of the asking file + '\0' + request → name
  let learned = 0; // modules that came from their files
  const pack = open(file);

  // ------------------------------------------------------------ finding

  const resolve = Module._resolveFilename;
  Module._resolveFilename = function (request, parent, isMain, options) {
    const from = parent?.filename;
    if (typeof from !== 'string' || options !== undefined || !from.startsWith(prefix)) return resolve.call(this, request, parent, isMain, options);
    const key = from.slice(prefix.length) + '\0' + request;
    const name = pack?.found[key];
    if (name !== undefined) return prefix + name;
    const result = resolve.call(this, request, parent, isMain, options);
    if (result.startsWith(prefix)) found[key] = result.slice(prefix.length);
    return result;
  };

  // ------------------------------------------------------------ loading

  const loadFile = Module._extensions['.js'];
  Module._extensions['.js'] = function (module, filename) {
    if (!filename.startsWith(prefix)) return loadFile.call(this, module, filename);
    const name = filename.slice(prefix.length).replaceAll(path.sep, '/');
    const script = scriptOf(filename, name);
    const require = (request) => module.require(request);
    require.resolve = (request, options) => Module._resolveFilename(request, module, false, options);
    require.main = process.mainModule;
    require.extensions = Module._extensions;
    require.cache = Module._cache;
    script.runInThisContext().call(module.exports, module.exports, require, module, filename, path.dirname(filename));
    if (name === facts && !pack?.modules[name]) keepFacts(module, name);
  };

  function scriptOf(filename, name) {
    const known = pack && pack.read(name);
    if (known) {
      const script = new vm.Script(known.source, { filename, cachedData: known.code });
      if (script.cachedDataRejected) learned++;
      loaded.set(name, { source: known.source, script });
      return script;
    }
    learned++;
    const source = Module.wrap(standIns[name] ?? edited(name, readFileSync(filename, 'utf8')));
    const script = new vm.Script(source, { filename });
    loaded.set(name, { source, script });
    return script;
  }

  // keepFacts replaces the source that will be saved by the facts that it registers.
  function keepFacts(module, name) {
    const { register } = module.exports.BuiltIns;
    module.exports.BuiltIns.register = () => {
      register();
      const { database } = module.require('./fact').Fact;
      const source = Module.wrap(factsSource(JSON.stringify(database)));
      loaded.set(name, { source, script: new vm.Script(source) });
    };
  }

  // ------------------------------------------------------------ the pack

  // A pack is: the length of a head as 32 bits, the head as JSON {found, modules: {name: [place, bytes of code, bytes of source,
  // 1 = latin1]}, size}, and the codes and sources of all modules, at places counted from the end of the head.
  function open(file) {
    let fd;
    try {
      fd = openSync(file, 'r');
    } catch {
      return undefined;
    }
    const bytes = (at, length) => {
      const buffer = Buffer.allocUnsafeSlow(length);
      return readSync(fd, buffer, 0, length, at) === length ? buffer : undefined;
    };
    try {
      const headBytes = bytes(0, 4).readUInt32LE(0);
      const head = JSON.parse(bytes(4, headBytes).latin1Slice());
      const start = 4 + headBytes;
      if (bytes(start + head.size - 1, 1) === undefined) throw new Error('too short');
      return {
        ...head,
        read(name) {
          const at = head.modules[name];
          const data = at && bytes(start + at[0], at[1] + at[2]);
          if (!data) return undefined;
          return { source: at[3] ? data.latin1Slice(at[1]) : data.utf8Slice(at[1]), code: data.subarray(0, at[1]), data, latin1: at[3] };
        },
      };
    } catch {
      closeSync(fd);
      return undefined; // cut short or not a pack
    }
  }

  // save writes a new pack when it would spare the next process some work. It is not needed for anything: what goes wrong
  // is left at that.
  function save() {
    if (learned <= (pack ? few : 0)) return;
    learned = 0;
    const modules = {};
    const parts = [];
    let size = 0;
    const add = (name, code, source, latin1) => {
      modules[name] = [size, code.length, source.length, latin1];
      parts.push(code, source);
      size += code.length + source.length;
    };
    for (const [name, { source, script }] of loaded) {
      const latin1 = /^[\0-\xff]*$/.test(source) ? 1 : 0;
      add(name, script.createCachedData(), Buffer.from(source, latin1 ? 'latin1' : 'utf8'), latin1);
    }
    for (const name in pack?.modules) {
      if (loaded.has(name) || size > maxBytes) continue;
      const known = pack.read(name);
      if (known) add(name, known.code, known.data.subarray(known.code.length), known.latin1);
    }
    const head = Buffer.from(JSON.stringify({ found: { ...pack?.found, ...found }, modules, size }).replace(/[^\0-\x7f]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(head.length);
    const draft = `${file}.${process.pid}.tmp`;
    try {
      for (const name of readdirSync(prefix)) {
        const patience = /^modules-.*\.tmp$/.test(name) ? 60_000 : /^modules-.*\.pack$/.test(name) && prefix + name !== file ? 30 * 86_400_000 : Infinity;
        if (performance.timeOrigin + performance.now() - statSync(prefix + name).mtimeMs > patience) rmSync(prefix + name);
      }
      writeFileSync(draft, Buffer.concat([length, head, ...parts]));
      renameSync(draft, file);
    } catch {
      rmSync(draft, { force: true });
    }
  }

  return save;
};

module.exports.edits = edits;
