package builtins

import (
	"regexp"
	"strings"

	"sst/builtins/jsii"
)

// This file makes Starlark of a translation to Python. It is mechanical: imports become assignments, everything else stays.
// What Starlark has not (classes, f-strings) fails to parse, and is counted as that.

var (
	snippetBegins = "// Code snippet begins after !show marker below"
	classLine     = regexp.MustCompile(`(?m)^(?:export )?class ([\w$]+)(?:<[^>]*>)? extends `)

	namespaceImport = regexp.MustCompile(`(?m)^\s*import\s+(?:\*\s*as\s+)?(\w+)\s*(?:=\s*require\(|from\s*)\s*['"]([^'"]+)['"]`)
	namedImport     = regexp.MustCompile(`(?m)^\s*import\s+(?:type\s+)?\{([^}]*)\}\s*from\s*['"]([^'"]+)['"]`)

	pythonFrom   = regexp.MustCompile(`^from\s+([\w.]+)\s+import\s+(.+)$`)
	pythonImport = regexp.MustCompile(`^import\s+([\w.]+)(?:\s+as\s+(\w+))?\s*$`)

	makesApp = regexp.MustCompile(`\b(?:\w+\.)?App\(`)
	word     = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// hostClass is the class whose constructor the visible part of an example is in, "" when it stands alone.
func hostClass(ts string) string {
	at := strings.LastIndex(ts, snippetBegins)
	if at < 0 {
		return ""
	}
	found := classLine.FindAllStringSubmatch(ts[:at], -1)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1][1]
}

// starlark is the program: `cdk`, `self` and `_App` are predeclared.
func (e *example) starlark() string {
	used := map[string]bool{}
	for _, w := range word.FindAllString(e.Python, -1) {
		used[w] = true
	}
	h := &header{used: used, defined: map[string]bool{}}
	var body []string
	lines := strings.Split(e.Python, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, "from ") && strings.HasSuffix(line, "(") { // until the bracket closes
			for i+1 < len(lines) && !strings.Contains(line, ")") {
				i++
				line += " " + strings.TrimSpace(lines[i])
			}
			line = strings.NewReplacer("(", "", ")", "").Replace(line)
		}
		if m := pythonFrom.FindStringSubmatch(line); m != nil {
			h.from(pythonModulePath(m[1]), m[2])
		} else if m := pythonImport.FindStringSubmatch(line); m != nil {
			if m[2] == "" {
				m[2] = m[1]
			}
			h.module(m[2], pythonModulePath(m[1]))
		} else {
			body = append(body, line)
		}
	}
	for _, m := range namespaceImport.FindAllStringSubmatch(e.TypeScript, -1) {
		h.module(pythonAlias(m[1]), typescriptModulePath(m[2]))
	}
	for _, m := range namedImport.FindAllStringSubmatch(e.TypeScript, -1) {
		h.from(typescriptModulePath(m[2]), m[1])
	}
	text := strings.Join(body, "\n")
	text = makesApp.ReplaceAllString(text, "_App(")
	return strings.Join(append(h.lines, text), "\n") + "\n"
}

// header collects the assignments that imports become.
type header struct {
	used, defined map[string]bool
	lines         []string
}

func (h *header) define(name, value string) {
	if h.used[name] && !h.defined[name] {
		h.defined[name] = true
		if name != value {
			h.lines = append(h.lines, name+" = "+value)
		}
	}
}

// module defines a name for a module; path is "aws_s3", "" for the library itself, "?" for none of ours.
func (h *header) module(name, path string) {
	if path == "?" {
		return
	}
	if _, ok := jsii.Index().Module(path); ok {
		h.define(name, modulePath(path))
	}
}

// from defines the names of an import list: "Stack, aws_s3 as s3".
func (h *header) from(path, names string) {
	if path == "?" {
		return
	}
	m, ok := jsii.Index().Module(path)
	if !ok {
		return
	}
	for _, item := range strings.Split(names, ",") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(item), "type "))
		if len(fields) == 0 {
			continue
		}
		name, alias := fields[0], pythonAlias(fields[0])
		if _, ok := m.Type(name); ok {
			alias = name
		}
		if len(fields) == 3 && fields[1] == "as" {
			alias = pythonAlias(fields[2])
			if _, ok := m.Type(name); ok {
				alias = fields[2]
			}
		}
		sub := name
		if path != "" {
			sub = path + "." + name
		}
		if _, ok := m.Type(name); ok {
			h.define(alias, modulePath(path)+"."+name)
		} else if _, ok := jsii.Index().Module(sub); ok {
			h.define(alias, modulePath(sub))
		}
	}
}

func modulePath(path string) string {
	if path == "" {
		return "cdk"
	}
	return "cdk." + path
}

func pythonModulePath(name string) string {
	switch {
	case name == "aws_cdk", name == "aws_cdk.core":
		return ""
	case strings.HasPrefix(name, "aws_cdk."):
		return strings.TrimPrefix(name, "aws_cdk.")
	case name == "constructs":
		return constructsModule
	}
	return "?"
}

func typescriptModulePath(name string) string {
	for strings.HasPrefix(name, "../") {
		name = strings.TrimPrefix(name, "../")
		if !strings.HasPrefix(name, "../") {
			name = "aws-cdk-lib/" + name
		}
	}
	switch {
	case name == "aws-cdk-lib", name == "aws-cdk-lib/core":
		return ""
	case strings.HasPrefix(name, "aws-cdk-lib/"):
		return strings.NewReplacer("-", "_", "/", ".").Replace(strings.TrimPrefix(name, "aws-cdk-lib/"))
	case name == "constructs":
		return constructsModule
	}
	return "?"
}

// pythonAlias is the name that the translator gives to an import.
func pythonAlias(name string) string {
	name = strings.ToLower(camel.ReplaceAllString(name, "${1}_${2}"))
	if name == "lambda" {
		return "lambda_"
	}
	return name
}

var camel = regexp.MustCompile(`([a-z0-9])([A-Z])`)
