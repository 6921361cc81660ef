// Where the sst program is and which version it has. Nothing here needs VS Code, so that it can be tried without.
import { execFile } from "node:child_process";
import * as path from "node:path";

/** A program and why it is that one; without a program, why there is none. */
export interface Found {
  program?: string;
  why: string;
}

/**
 * Finds the program: the setting, else the one in a project's node_modules, else the one on the PATH.
 * `roots` are the folders of the workspace, none when it is not trusted.
 */
export function find(
  setting: string,
  roots: string[],
  environment: Record<string, string | undefined>,
  platform: string,
  exists: (file: string) => boolean,
): Found {
  const { join, delimiter, isAbsolute } = platform === "win32" ? path.win32 : path.posix;
  if (setting !== "") {
    const program = isAbsolute(setting) || roots.length === 0 ? setting : join(roots[0]!, setting);
    return exists(program) ? { program, why: "the setting sst.path" } : { why: `there is no ${program}, which the setting sst.path names` };
  }
  const names = platform === "win32" ? ["sst.exe", "sst.cmd"] : ["sst"];
  for (const root of roots) {
    for (const name of names) {
      const program = join(root, "node_modules", ".bin", name);
      if (exists(program)) return { program, why: "in the project's node_modules" };
    }
  }
  for (const folder of (environment.PATH ?? environment.Path ?? "").split(delimiter)) {
    for (const name of names) {
      const program = join(folder, name);
      if (folder !== "" && exists(program)) return { program, why: "on the PATH" };
    }
  }
  return { why: "it is neither in the project's node_modules nor on the PATH" };
}

/** Asks a program for its version, "1.2.3". */
export function versionOf(program: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const shell = program.endsWith(".cmd");
    execFile(shell ? `"${program}"` : program, ["version", "--json"], { timeout: 10_000, shell }, (error, stdout) => {
      if (error) return reject(error);
      try {
        const { event, sst } = JSON.parse(stdout) as { event?: string; sst?: string };
        if (event !== "version" || typeof sst !== "string") throw new Error();
        resolve(sst);
      } catch {
        reject(new Error("it is not the sst that this extension is for"));
      }
    });
  });
}

/** Says whether a version is older than the wanted one; what comes behind a hyphen does not count. */
export function tooOld(version: string, wanted: string): boolean {
  const [have, want] = [version, wanted].map((text) => text.split("-")[0]!.split(".").map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (have![i] ?? 0) - (want![i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
