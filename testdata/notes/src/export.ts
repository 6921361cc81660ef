// Gives all notes as lines of text. It has no route: it is invoked by name.
import * as store from "./store";

export async function run() {
  const notes = await store.all();
  return { count: notes.length, lines: notes.map(({ created, text }) => `${created}  ${text}`) };
}
