// Which program is started, and whether it is new enough.
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildSync } from "esbuild";

const bundle = join(mkdtempSync(join(tmpdir(), "sst-extension-")), "program.mjs");
buildSync({ entryPoints: ["src/program.ts"], bundle: true, platform: "node", format: "esm", outfile: bundle });
const { find, tooOld, versionOf } = await import(bundle);

const here = (...files) => (file) => files.includes(file);

test("the setting comes first, then node_modules, then the PATH", () => {
  const everywhere = here("/opt/sst", "/p/node_modules/.bin/sst", "/usr/bin/sst", "/p/tools/sst");
  const env = { PATH: "/bin:/usr/bin" };
  assert.equal(find("/opt/sst", ["/p"], env, "linux", everywhere).program, "/opt/sst");
  assert.equal(find("tools/sst", ["/p"], env, "linux", everywhere).program, "/p/tools/sst");
  assert.equal(find("", ["/p"], env, "linux", everywhere).program, "/p/node_modules/.bin/sst");
  assert.equal(find("", ["/q"], env, "linux", everywhere).program, "/usr/bin/sst");
});

test("an untrusted workspace gives no program", () => {
  assert.equal(find("", [], { PATH: "/usr/bin" }, "linux", here("/p/node_modules/.bin/sst")).program, undefined);
});

test("what is missing is named", () => {
  assert.match(find("/gone/sst", ["/p"], {}, "linux", here()).why, /no \/gone\/sst, which the setting sst.path names/);
  assert.match(find("", ["/p"], {}, "linux", here()).why, /neither in the project's node_modules nor on the PATH/);
});

test("Windows has other names and separators", () => {
  assert.equal(find("", ["C:\\p"], {}, "win32", here("C:\\p\\node_modules\\.bin\\sst.cmd")).program, "C:\\p\\node_modules\\.bin\\sst.cmd");
  assert.equal(find("", [], { Path: "C:\\a;C:\\b" }, "win32", here("C:\\b\\sst.exe")).program, "C:\\b\\sst.exe");
});

test("versions compare by number", () => {
  assert.equal(tooOld("0.9.0", "0.10.0"), true);
  assert.equal(tooOld("0.10.0", "0.9.9"), false);
  assert.equal(tooOld("1.0.0-dev", "1.0.0"), false);
});

test("the version is asked for", { skip: process.platform === "win32" }, async () => {
  const program = (text) => {
    const file = join(mkdtempSync(join(tmpdir(), "sst-extension-")), "sst");
    writeFileSync(file, `#!/bin/sh\necho '${text}'\n`);
    chmodSync(file, 0o755);
    return file;
  };
  assert.equal(await versionOf(program('{"event":"version","sst":"1.2.3"}')), "1.2.3");
  await assert.rejects(versionOf(program("v3 of something else")), /not the sst that this extension is for/);
  await assert.rejects(versionOf("/gone/sst"), /ENOENT/);
});
