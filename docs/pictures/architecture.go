package main

import (
	"fmt"
	"html"
	"strings"
)

// This file is the picture of the architecture: boxes and arrows by their places, so that a change of it is a change of
// a line here. It follows the reader's light or dark colours.

// box is a part: a bold name and a line or two about it.
type box struct {
	id         string
	x, y, w, h int
	name       string
	about      []string
	theirs     bool // not of this program: the user's files, a request
}

// frame is a place that parts are in.
type frame struct {
	x, y, w, h int
	name       string
}

// arrow goes from the side of a box to the side of another. Its text stands above it, or right of one that goes up or down.
type arrow struct {
	from, to string // "id:side", side is l, r, t, b
	text     string
}

const (
	pictureWidth, pictureHeight = 1080, 586
	boxHeight                   = 62
)

var frames = []frame{
	{16, 16, 1048, 262, "sst build"},
	{16, 298, 1048, 126, "sst start, on your machine"},
	{16, 444, 1048, 126, "sst start, live: your account in AWS"},
}

var boxes = []box{
	{"editor", 226, 48, 166, 46, "your editor", []string{"sst lsp"}, true},
	{"stacks", 36, 118, 150, boxHeight, "stacks.star", []string{"your app"}, true},
	{"starlark", 226, 118, 166, boxHeight, "Starlark", []string{"checked against the", "metadata of the CDK"}, false},
	{"host", 436, 118, 166, boxHeight, "Node host", []string{"aws-cdk-lib makes", "the templates"}, false},
	{"sources", 36, 196, 150, boxHeight, "src/", []string{"TypeScript, Python, Go"}, true},
	{"bundle", 226, 196, 376, boxHeight, "bundles", []string{"esbuild in the process, go build, Python as it is"}, false},
	{"out", 656, 118, 170, 140, "assembly", []string{".sst/out:", "templates, code,", "sst.json"}, false},
	{"cfn", 880, 157, 168, boxHeight, "CloudFormation", []string{"sst deploy, or", "the stock CDK CLI"}, true},

	{"request", 36, 342, 110, boxHeight, "request", []string{"curl, browser,", "SDK"}, true},
	{"front", 186, 342, 150, boxHeight, "fronts", []string{"HTTP APIs, Invoke,", "schedules, queues"}, false},
	{"sandbox", 376, 342, 140, boxHeight, "sandbox", []string{"plays Lambda's", "side"}, false},
	{"relay", 556, 342, 110, boxHeight, "relay", []string{"WebSocket,", "sst-live/1"}, false},
	{"developer", 706, 342, 150, boxHeight, "developer's end", []string{"keeps answers until", "they have arrived"}, false},
	{"worker", 906, 342, 142, boxHeight, "worker", []string{"your code behind", "the Runtime API"}, false},

	{"trigger", 36, 488, 150, boxHeight, "trigger", []string{"API Gateway, SQS,", "S3, EventBridge, ..."}, true},
	{"stub", 236, 488, 150, boxHeight, "stub", []string{"in the place of", "each function"}, false},
	{"socket", 436, 488, 166, boxHeight, "WebSocket API", []string{"and the function", "that relays"}, false},
	{"bucket", 656, 488, 200, boxHeight, "bucket", []string{"what is too large for", "a message, sealed"}, false},
}

var arrows = []arrow{
	{"editor:b", "starlark:t", "the same check, while you type"},
	{"stacks:r", "starlark:l", ""},
	{"starlark:r", "host:l", ""},
	{"host:r", "out:l", ""},
	{"sources:r", "bundle:l", ""},
	{"bundle:r", "out:l", ""},
	{"out:r", "cfn:l", ""},
	{"request:r", "front:l", ""},
	{"front:r", "sandbox:l", ""},
	{"sandbox:r", "relay:l", ""},
	{"relay:r", "developer:l", ""},
	{"developer:r", "worker:l", ""},
	{"trigger:r", "stub:l", ""},
	{"stub:r", "socket:l", ""},
	{"socket:t", "developer:b", ""},
	{"socket:r", "bucket:l", ""},
}

const pictureStyle = `<style>
  svg { --page: #ffffff; --ink: #1f2328; --quiet: #57606a; --line: #8c959f; --ours: #ddf4ff; --rim: #54aeff; --theirs: #f6f8fa; --edge: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --line: #6e7681; --ours: #10243e; --rim: #388bfd; --theirs: #161b22; --edge: #30363d; }
  }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink); }
  .name { font-size: 14px; font-weight: 600; }
  .about { font-size: 12px; fill: var(--quiet); }
  .frame { fill: none; stroke: var(--edge); }
  .title { font-size: 13px; font-weight: 600; fill: var(--quiet); }
  .ours { fill: var(--ours); stroke: var(--rim); }
  .theirs { fill: var(--theirs); stroke: var(--line); }
  .arrow { fill: none; stroke: var(--line); stroke-width: 1.5; }
  .head { fill: var(--line); }
</style>
`

// architecture draws the picture.
func architecture() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%s">`+"\n", pictureWidth, pictureHeight,
		"How stacks.star becomes an assembly, and how a request reaches the worker that runs your code, on your machine and from AWS")
	b.WriteString(pictureStyle)
	b.WriteString(`<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>` + "\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" style="fill: var(--page)"/>`+"\n", pictureWidth, pictureHeight)
	for _, f := range frames {
		fmt.Fprintf(&b, `<rect class="frame" x="%d" y="%d" width="%d" height="%d" rx="8"/>`+"\n", f.x, f.y, f.w, f.h)
		fmt.Fprintf(&b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", f.x+14, f.y+24, html.EscapeString(f.name))
	}
	for _, a := range arrows {
		b.WriteString(a.draw())
	}
	for _, each := range boxes {
		b.WriteString(each.draw())
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (x box) draw() string {
	class := "ours"
	if x.theirs {
		class = "theirs"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n", class, x.x, x.y, x.w, x.h)
	y := x.y + x.h/2 + 5 - 8*len(x.about)
	line := func(class, text string) {
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", class, x.x+x.w/2, y, html.EscapeString(text))
		y += 16
	}
	line("name", x.name)
	for _, text := range x.about {
		line("about", text)
	}
	return b.String()
}

// end is the middle of a side of a box.
func end(ref string) (x, y int, side string) {
	id, side, _ := strings.Cut(ref, ":")
	for _, b := range boxes {
		if b.id != id {
			continue
		}
		switch side {
		case "l":
			return b.x, b.y + b.h/2, side
		case "r":
			return b.x + b.w, b.y + b.h/2, side
		case "t":
			return b.x + b.w/2, b.y, side
		case "b":
			return b.x + b.w/2, b.y + b.h, side
		}
	}
	panic("no end " + ref)
}

// draw draws a straight arrow, or one with two corners where the ends are not on one line. One that ends at a side keeps the
// height that it comes from when the box is tall enough.
func (a arrow) draw() string {
	x1, y1, from := end(a.from)
	x2, y2, _ := end(a.to)
	path := fmt.Sprintf("M%d %d L%d %d", x1, y1, x2, y2)
	switch {
	case from == "r" && y1 != y2:
		path = fmt.Sprintf("M%d %d L%d %d", x1, y1, x2, y1)
	case from == "t" && x1 != x2:
		middle := y2 + 30 // between two frames
		path = fmt.Sprintf("M%d %d L%d %d L%d %d L%d %d", x1, y1, x1, middle, x2, middle, x2, y2)
	}
	text := ""
	if a.text != "" {
		text = fmt.Sprintf(`<text class="about" x="%d" y="%d">%s</text>`+"\n", x1+10, (y1+y2)/2+4, html.EscapeString(a.text))
	}
	return fmt.Sprintf(`<path class="arrow" marker-end="url(#head)" d="%s"/>`+"\n", path) + text
}
