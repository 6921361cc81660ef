// The notes, in one file of the temporary folder: the one place a Lambda function may write to.
import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Note {
  id: string;
  text: string;
  created: string;
}

const path = join(tmpdir(), "sst-example-notes.json");

export async function all(): Promise<Note[]> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error: any) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

export async function add(text: string): Promise<Note> {
  const note = { id: randomUUID(), text, created: new Date().toISOString() };
  await save([...(await all()), note]);
  return note;
}

// Says whether there was such a note.
export async function remove(id: string): Promise<boolean> {
  const notes = await all();
  const rest = notes.filter((note) => note.id !== id);
  if (rest.length === notes.length) return false;
  await save(rest);
  return true;
}

async function save(notes: Note[]) {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, JSON.stringify(notes, null, 2));
  await rename(draft, path); // a reader sees the old file or the new one, never half of it
}
