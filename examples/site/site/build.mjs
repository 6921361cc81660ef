// Makes dist of src: scripts and styles under names that change with their content, so that browsers may keep them for
// ever, and the settings in index.html, which browsers ask for each time.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const settings = {};
for (const name of ["API_URL", "REGION", "CLIENT_ID"]) {
  if (!process.env[name]) throw new Error(`${name} is not set: stacks.star and README.md say where it comes from`);
  settings[name] = process.env[name];
}

await rm("dist", { recursive: true, force: true });
await mkdir("dist/assets", { recursive: true });

// In an order in which a file comes after those that it names.
const renamed = {};
for (const name of ["style.css", "session.js", "main.js"]) {
  const text = withNames(await readFile(`src/${name}`, "utf8"));
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
  renamed[name] = name.replace(/\.(?=\w+$)/, `.${hash}.`);
  await writeFile(`dist/assets/${renamed[name]}`, text);
}

const page = withNames(await readFile("src/index.html", "utf8"));
await writeFile("dist/index.html", page.replace("{{settings}}", JSON.stringify(settings).replaceAll("<", "\\u003c")));

function withNames(text) {
  for (const [name, to] of Object.entries(renamed)) text = text.replaceAll(`/${name}"`, `/${to}"`);
  return text;
}
