package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeNotes makes the benchmark app "notes-N": N HTTP routes with a TypeScript handler each (which share a module, and
// bundle zod and ulid), a table, a queue with a consumer, a topic with a subscriber, and a cron. Up to 40 routes lie in
// one stack; more are spread over three, because CloudFormation takes 500 resources a stack.
func writeNotes(t testing.TB, dir string, n int) {
	t.Helper()
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	apis := 1
	if n > 40 {
		apis = 3
	}
	var stacks strings.Builder
	fmt.Fprintf(&stacks, `app = sst.App("notes", region = "us-east-1")
data = sst.Stack(app, "data")
notes = sst.Table(data, "Notes",
    fields = {"user": "string", "note": "string"},
    primary_index = ("user", "note"),
)
mail = sst.Queue(data, "Mail", consumer = "src/mail.main")
events = sst.Topic(data, "Events", subscribers = ["src/events.main"])
sst.Cron(data, "Digest", schedule = "rate(1 hour)", job = "src/digest.main")
`)
	for a := range apis {
		fmt.Fprintf(&stacks, "\nweb%d = sst.Stack(app, \"web%d\")\napi%d = sst.Api(web%d, \"Api%d\", link = [notes], routes = {\n", a, a, a, a, a)
		for i := a; i < n; i += apis {
			fmt.Fprintf(&stacks, "    \"GET /notes%d/{id}\": \"src/route%d.main\",\n", i, i)
		}
		fmt.Fprintf(&stacks, "})\nweb%d.output(url = api%d.url)\n", a, a)
	}
	write("stacks.star", stacks.String())
	write("src/shared.ts", `import { z } from "zod";
import { ulid } from "ulid";

const Note = z.object({ user: z.string().min(1), text: z.string().max(10_000), tags: z.array(z.string()).default([]) });

export function make(input: unknown) {
  return { id: ulid(), ...Note.parse(input) };
}
`)
	handler := func(name string) {
		write("src/"+name+".ts", fmt.Sprintf(`import { make } from "./shared";

export async function main(event: { pathParameters?: { id?: string } }) {
  return { statusCode: 200, body: JSON.stringify({ handler: %q, note: make({ user: "u", text: event.pathParameters?.id ?? "" }) }) };
}
`, name))
	}
	for i := range n {
		handler(fmt.Sprintf("route%d", i))
	}
	handler("mail")
	handler("events")
	handler("digest")

	modules, err := filepath.Abs("../testdata/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "zod")); err != nil {
		t.Skip("zod and ulid are not installed: run make testdata/npm/node_modules/.installed")
	}
	for _, name := range []string{"zod", "ulid"} {
		if err := os.MkdirAll(filepath.Join(dir, "node_modules"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, "node_modules", name), os.DirFS(filepath.Join(modules, name))); err != nil {
			t.Fatal(err)
		}
	}
}
