// The page: three forms and a list.
import { call, confirm, signedIn, signIn, signOut, signUp } from "/assets/session.js";

const part = (id) => document.getElementById(id);
let credentials; // between signing up and confirming it

on("sign-in", async (form, button) => {
  credentials = [form.get("email"), form.get("password")];
  if (button.value === "up") {
    await signUp(...credentials);
    return show("confirm");
  }
  try {
    await signIn(...credentials);
  } catch (error) {
    if (error.name !== "UserNotConfirmedException") throw error;
    return show("confirm");
  }
  await showLinks();
});

on("confirm", async (form) => {
  await confirm(credentials[0], form.get("code"));
  await signIn(...credentials);
  await showLinks();
});

on("add", async (form) => {
  await call("POST", "/links", { url: form.get("url") });
  part("add").reset();
  await showLinks();
});

part("sign-out").addEventListener("click", () => {
  signOut();
  show("sign-in");
});

async function showLinks() {
  const links = await call("GET", "/links");
  part("links").querySelector("ul").replaceChildren(...links.map(item));
  show("links");
}

function item({ id, url }) {
  const line = document.createElement("li");
  const link = Object.assign(document.createElement("a"), { href: url, textContent: url, rel: "noreferrer" });
  const remove = Object.assign(document.createElement("button"), { textContent: "Remove" });
  remove.addEventListener("click", () => attempt(async () => {
    await call("DELETE", `/links/${encodeURIComponent(id)}`);
    await showLinks();
  }));
  line.append(link, remove);
  return line;
}

function show(id) {
  for (const each of ["sign-in", "confirm", "links"]) part(each).hidden = each !== id;
}

function on(id, work) {
  part(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => work(new FormData(event.target), event.submitter));
  });
}

async function attempt(work) {
  part("message").textContent = "";
  try {
    await work();
  } catch (error) {
    part("message").textContent = error.message;
    if (!signedIn() && part("confirm").hidden) show("sign-in");
  }
}

if (signedIn()) attempt(showLinks);
else show("sign-in");
