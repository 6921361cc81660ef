// The client of `sst lsp`: finds the program, starts it, and starts it again when that is asked for or its settings change.
import * as fs from "node:fs";
import { commands, ExtensionContext, LogOutputChannel, StatusBarAlignment, window, workspace } from "vscode";
import { LanguageClient, LanguageClientOptions, RevealOutputChannelOn, ServerOptions, State } from "vscode-languageclient/node";
import { find, Found, tooOld, versionOf } from "./program";

let client: LanguageClient | undefined;

export async function activate(context: ExtensionContext): Promise<void> {
  const output = window.createOutputChannel("sst", { log: true });
  const status = window.createStatusBarItem("sst", StatusBarAlignment.Right);
  status.name = "sst";
  status.command = "sst.showOutput";
  context.subscriptions.push(output, status);

  // One start at a time: the commands and the settings may ask for another while one is under way.
  let starting: Promise<void> = Promise.resolve();
  const restart = () => {
    starting = starting.then(() => stop()).then(() => start(context, output, (text) => show(text)));
    return starting;
  };
  const show = (text: string) => {
    status.text = text;
    if (text === "") status.hide();
    else status.show();
  };
  context.subscriptions.push(
    commands.registerCommand("sst.restartServer", restart),
    commands.registerCommand("sst.showOutput", () => output.show()),
    workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("sst.path") || change.affectsConfiguration("sst.lsp.args")) void restart();
    }),
    workspace.onDidGrantWorkspaceTrust(() => void restart()),
  );
  await restart();
}

export function deactivate(): Thenable<void> | undefined {
  return stop();
}

async function stop(): Promise<void> {
  const old = client;
  client = undefined;
  if (old?.needsStop()) await old.stop().catch(() => undefined); // it is gone one way or the other
  await old?.dispose().catch(() => undefined);
}

async function start(context: ExtensionContext, output: LogOutputChannel, show: (status: string) => void): Promise<void> {
  const settings = workspace.getConfiguration("sst");
  const roots = workspace.isTrusted ? (workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath) : [];
  const found = find(settings.get<string>("path", ""), roots, process.env, process.platform, (file) => fs.existsSync(file));
  if (found.program === undefined) return missing(found, show);
  const version = await versionOf(found.program).catch((error: Error) => error);
  if (version instanceof Error) {
    show("$(error) sst");
    void window.showErrorMessage(`sst: ${found.program} cannot be run: ${version.message}`);
    return;
  }
  const minimum = context.extension.packageJSON.version as string;
  if (tooOld(version, minimum)) {
    void window.showWarningMessage(`sst ${version} (${found.program}) is older than this extension, which wants ${minimum} or newer. Some features may be missing.`);
  }
  output.info(`${found.program} (${found.why}), version ${version}`);

  const run = { command: found.program, args: ["lsp", ...settings.get<string[]>("lsp.args", [])] };
  const server: ServerOptions = { run, debug: run };
  const options: LanguageClientOptions = {
    documentSelector: [{ scheme: "file", language: "starlark" }],
    outputChannel: output,
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    synchronize: { fileEvents: [workspace.createFileSystemWatcher("**/*.{star,ts,tsx,mts,cts,js,jsx,mjs,cjs,py,go}"), workspace.createFileSystemWatcher("**/sst.lock.json")] },
  };
  client = new LanguageClient("sst", "sst", server, options);
  client.onDidChangeState(({ newState }) => show(newState === State.Starting ? "$(sync~spin) sst" : newState === State.Stopped ? "$(warning) sst" : ""));
  await client.start().catch((error: Error) => {
    show("$(error) sst");
    void window.showErrorMessage(`sst: the language server did not start: ${error.message}`);
  });
}

async function missing(found: Found, show: (status: string) => void): Promise<void> {
  show("$(warning) sst");
  const settings = "Open Settings";
  const text = `sst was not found: ${found.why}. \`npm install --save-dev stacks-star\` adds it to a project.`;
  if ((await window.showWarningMessage(text, settings)) === settings) {
    await commands.executeCommand("workbench.action.openSettings", "sst.path");
  }
}

