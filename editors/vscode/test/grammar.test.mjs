// What the grammar calls the parts of a file: `TEXT => scope` per line of the table.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import oniguruma from "vscode-oniguruma";
import textmate from "vscode-textmate";

const require = createRequire(import.meta.url);
await oniguruma.loadWASM(readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")));
const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => textmate.parseRawGrammar(readFileSync("syntaxes/starlark.tmLanguage.json", "utf8"), "starlark.json"),
});
const grammar = await registry.loadGrammar("source.starlark");

function scopes(source) {
  const found = [];
  let state = textmate.INITIAL;
  for (const line of source.split("\n")) {
    const result = grammar.tokenizeLine(line, state);
    for (const token of result.tokens) found.push([line.slice(token.startIndex, token.endIndex), token.scopes.join(" ")]);
    state = result.ruleStack;
  }
  return found;
}

const source = `# a comment
load("./alarms.star", "alarm")
app = sst.App("notes", defaults = {"memory": 1024})
def make(scope, *names, size = 0x10, **rest):
    """Docs
    go on."""
    for name in names:
        if name == "x\\n" and not rest:
            return [cdk.RemovalPolicy.DESTROY for _ in range(1.5)]
    return lambda x: None
route = "GET /notes/{id}"
broken = "no end
after = True`;

const wanted = [
  ["# a comment".slice(1), "comment.line"],
  ["load", "keyword.control.import"],
  ["./alarms.star", "string.quoted.single"],
  ["sst", "support.module"],
  ["App", "entity.name.type.class"],
  ["defaults", "variable.other.assignment"],
  ["1024", "constant.numeric.integer"],
  ["def", "storage.type.function"],
  ["make", "entity.name.function"],
  ["scope", "variable.parameter"],
  ["**", "keyword.operator.unpacking"],
  ["0x10", "constant.numeric.integer"],
  ["    go on.", "string.quoted.triple"],
  ["for", "keyword.control.flow"],
  ["and", "keyword.operator.logical"],
  ["\\n", "constant.character.escape"],
  ["DESTROY", "constant.other.caps"],
  ["range", "support.function.builtin"],
  ["1.5", "constant.numeric.float"],
  ["lambda", "storage.type.function.lambda"],
  ["None", "constant.language"],
  ["{id}", "constant.character.format.placeholder"],
  ["True", "constant.language"],
];

test("every part has its scope", () => {
  const found = scopes(source);
  for (const [text, scope] of wanted) {
    assert.ok(
      found.some(([part, all]) => part === text && all.includes(scope)),
      `${JSON.stringify(text)} is not ${scope}, but ${JSON.stringify(found.filter(([part]) => part.trim() === text.trim()))}`,
    );
  }
});

test("a string that does not end leaves the next line alone", () => {
  assert.ok(scopes(source).some(([text, all]) => text.trim() === "after" && !all.includes("string")));
});
