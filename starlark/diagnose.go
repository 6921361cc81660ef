package interp

// Errors of the parser, the resolver, the interpreter and builtins, as
// diagnostics at the user's line.

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// ToDiagnostics turns any error of an evaluation into diagnostics. read gives
// the source of files for the caret; nil means os.ReadFile. [Interp.Diagnose]
// has the files parsed already.
func ToDiagnostics(err error, read func(path string) ([]byte, error)) diag.List {
	if read == nil {
		read = os.ReadFile
	}
	files := map[string]*File{}
	return diagnose(err, func(path string) *File {
		f, ok := files[path]
		if !ok {
			if src, err := read(path); err == nil {
				f = Parse(path, src)
			}
			files[path] = f
		}
		return f
	})
}

// diagnose is ToDiagnostics with a source of parsed files, which may give nil.
func diagnose(err error, source func(path string) *File) diag.List {
	if err == nil {
		return nil
	}
	var list diag.List
	if errors.As(err, &list) {
		return list
	}
	var one *diag.Diagnostic
	if errors.As(err, &one) {
		return diag.List{one}
	}
	if eval := innermost(err); eval != nil {
		return diag.List{diagnoseEval(eval, source)}
	}
	var unresolved resolve.ErrorList
	if errors.As(err, &unresolved) {
		for _, e := range unresolved {
			list = append(list, diagnoseResolve(e, source))
		}
		return list
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return diag.List{failure.diagnostic(diag.Span{})}
	}
	if pos, msg := syntaxError(err); pos.IsValid() {
		d := &diag.Diagnostic{Code: "syntax-error", Summary: "Syntax error", Detail: sentence(msg), Span: diag.Point(position(pos.Filename(), pos))}
		if f := source(pos.Filename()); f != nil && len(f.Errors) > 0 {
			return f.Errors
		}
		return diag.List{d}
	}
	return diag.List{{Code: "evaluation-failed", Summary: "Evaluation failed", Detail: sentence(err.Error())}}
}

// innermost is the evaluation error closest to the fault.
func innermost(err error) *starlark.EvalError {
	var found *starlark.EvalError
	for {
		var eval *starlark.EvalError
		if !errors.As(err, &eval) {
			return found
		}
		found = eval
		err = eval.Unwrap()
	}
}

func diagnoseEval(eval *starlark.EvalError, source func(string) *File) *diag.Diagnostic {
	stack := eval.CallStack
	var failure *Failure
	if !errors.As(eval, &failure) {
		failure = refine(eval.Msg, stack, source)
		if m := argumentError.FindStringSubmatch(eval.Msg); m != nil && len(stack) > 1 && stack.At(0).Name == m[1] {
			stack = stack[:len(stack)-1] // the fault is in the call, not in the function called
		}
	}
	at := siteOf(stack)
	var f *File
	if at.user.IsValid() {
		f = source(at.user.File)
	}
	d := FailureAt(failure, f, at.user)
	d.Frames = append(slices.Clip(at.frames), failure.Frames...)
	d.Callers = at.callers
	return d
}

// refinement rewrites one message of the interpreter. The groups of pattern
// are given to rewrite.
type refinement struct {
	pattern *regexp.Regexp
	rewrite func(m []string, params func(function string) []string) *Failure
}

// argumentError is a message about a call of a Starlark function, whose frame
// is on the stack already.
var argumentError = regexp.MustCompile(`^function (\S+) (?:got|missing|accepts|called) `)

func pattern(s string) *regexp.Regexp { return regexp.MustCompile("(?s)^(?:" + s + ")$") }

var refinements = []refinement{
	{pattern(`function (\S+) got an unexpected keyword argument "?(\w+)"?`), func(m []string, params func(string) []string) *Failure {
		return unknownParameter(m[1], m[2], params(m[1]))
	}},
	{pattern(`(\S+): unexpected keyword argument "?(\w+)"?(?: \(did you mean (\w+)\?\))?`), func(m []string, _ func(string) []string) *Failure {
		return unknownParameter(m[1], m[2], nonEmpty(m[3]))
	}},
	{pattern(`(\S+?):? (?:unexpected keyword arguments|does not accept keyword arguments)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("unknown-parameter", "Unknown parameter", "%s takes no arguments by name.", m[1])
	}},
	{pattern(`(?:function )?(\S+?):? got multiple values for (?:parameter|keyword argument) "?(\w+)"?`), func(m []string, _ func(string) []string) *Failure {
		return duplicateParameter(m[1], m[2])
	}},
	{pattern(`function (\S+) missing \d+ arguments? \((.*)\)`), func(m []string, _ func(string) []string) *Failure {
		return missingParameters(m[1], strings.Split(m[2], ", "))
	}},
	{pattern(`(\S+): missing argument for (\w+)`), func(m []string, _ func(string) []string) *Failure {
		return missingParameters(m[1], []string{m[2]})
	}},
	{pattern(`function (\S+) accepts no arguments \((\d+) given\)`), func(m []string, _ func(string) []string) *Failure {
		given, _ := strconv.Atoi(m[2])
		return tooManyPositionals(m[1], 0, given, false)
	}},
	{pattern(`function (\S+) accepts (?:at most |exactly )?(\d+) positional arguments? \((\d+) given\)`), func(m []string, params func(string) []string) *Failure {
		most, _ := strconv.Atoi(m[2])
		given, _ := strconv.Atoi(m[3])
		return tooManyPositionals(m[1], most, given, len(params(m[1])) > most)
	}},
	{pattern(`(\S+): got (\d+) arguments, want (?:at most |exactly )?(\d+)`), func(m []string, _ func(string) []string) *Failure {
		given, _ := strconv.Atoi(m[2])
		most, _ := strconv.Atoi(m[3])
		if given < most {
			return Errorf("missing-parameter", "Missing parameter", "%s takes %d arguments, not %d.", m[1], most, given)
		}
		return tooManyPositionals(m[1], most, given, false)
	}},
	{pattern(`(\S+): got (\d+) arguments, want at least (\d+)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("missing-parameter", "Missing parameter", "%s takes at least %s, not %s.", m[1], counted(m[3], "argument"), m[2])
	}},
	{pattern(`(\S+): (?:for )?parameter "?(\w+)"?: got (.*), want (.*)`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("wrong-type", "Wrong type", "%s of %s takes %s, not %s.", m[2], m[1], m[4], m[3])
		if n, err := strconv.Atoi(m[2]); err == nil {
			f.Positional = n
			f.Detail = fmt.Sprintf("Argument %d of %s takes %s, not %s.", n, m[1], m[4], m[3])
		} else {
			f.Keyword = m[2]
		}
		return f
	}},
	{pattern(`(?:getattr: )?(.*) has no \.(\w+) (?:field or method|field|attribute)(?: \(did you mean \.(\w+)\?\))?`), func(m []string, _ func(string) []string) *Failure {
		return unknownAttribute(m[1], m[2], nonEmpty(m[3]))
	}},
	{pattern(`(local|global) variable (\w+) referenced before assignment`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("unassigned-name", "Name has no value yet", "%s is assigned only later, or in a branch that did not run.", m[2])
		if m[1] == "local" {
			f.Detail = fmt.Sprintf("%s is assigned in this function, but not before this line.", m[2])
		}
		return f
	}},
	{pattern(`invalid call of non-function \((.*)\)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("not-callable", "Not a function", "A value of type %s cannot be called.", m[1])
	}},
	{pattern(`unknown binary op: (\S+) (\S+) (\S+)`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("wrong-operands", "Wrong operands", "%q cannot be applied to %s and %s.", m[2], m[1], m[3])
		if m[2] == "+" && (m[1] == "string") != (m[3] == "string") {
			f.Hint = "Write str(value) to join it to a string."
		}
		return f
	}},
	{pattern(`unknown unary op: (\S+) (\S+)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("wrong-operands", "Wrong operands", "%q cannot be applied to %s.", m[1], m[2])
	}},
	{pattern(`key (.*) not in (\S+)`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("missing-key", "No such key", "The %s has no key %s.", m[2], m[1])
		f.Hint = "Write .get(key) where it may be missing."
		return f
	}},
	{pattern(`(?:pop: )?(\w+) index (-?\d+) out of range \[-(\d+):\d+\]`), func(m []string, _ func(string) []string) *Failure {
		return indexOutOfRange(m[1], m[2], m[3])
	}},
	{pattern(`(?:pop: )?(?:(\w+) )?index (-?\d+) out of range: empty (\w+)`), func(m []string, _ func(string) []string) *Failure {
		return indexOutOfRange(m[3], m[2], "0")
	}},
	{pattern(`(\w+) index: got (.*), want int`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("wrong-type", "Wrong type", "A %s is indexed by the number of an element, not by a %s.", m[1], m[2])
	}},
	{pattern(`too (?:few|many) values to unpack \(got (\d+), want (\d+)\)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("wrong-unpacking", "Wrong number of values", "%s for %s.", counted(m[1], "value"), counted(m[2], "name"))
	}},
	{pattern(`index: value not in list`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("missing-value", "No such value", "The list does not have the value that .index(value) looks for.")
		f.Hint = "Ask `value in list` before, where it may be missing."
		return f
	}},
	{pattern(`r?index: substring not found`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("missing-value", "No such text", "The string does not have the text that .index(text) looks for.")
		f.Hint = "Write .find(text), which gives -1 then, where it may be missing."
		return f
	}},
	{pattern(`(?:floating-point|floored|integer)? ?(?:division|modulo) by zero`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("division-by-zero", "Division by zero", "The number on the right is 0.")
	}},
	{pattern(`int: invalid literal with base \d+: (.*)|(?:float: )?invalid float literal: (.*)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("no-number", "Not a number", "%q is not the text of a number.", m[1]+m[2])
	}},
	{pattern(`(\w+) value is not iterable`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("wrong-type", "Wrong type", "A value of type %s has no elements to go through.", m[1])
		if m[1] == "int" {
			f.Hint = "Write range(n) for the numbers from 0 on."
		}
		return f
	}},
	{pattern(`format: tuple index out of range`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("index-out-of-range", "No such element", "The format has more {} than .format(...) has values.")
	}},
	{pattern(`function (\S+) called recursively`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("recursion", "Recursion", "%s is called while it is running; Starlark has no recursion, so that every evaluation ends.", m[1])
	}},
	{pattern(`(?:\w+: )?cannot (.*) frozen (.*)`), func(m []string, _ func(string) []string) *Failure {
		f := Errorf("frozen-value", "Value cannot be changed", "Cannot %s a %s of a file that has been loaded.", m[1], m[2])
		f.Hint = "Make a copy: list(x) or dict(x)."
		return f
	}},
	{pattern(`load: name (\S+) not found in module (.*?)(?: \(did you mean (\w+)\?\))?`), func(m []string, _ func(string) []string) *Failure {
		return unknownSymbol(m[1], m[2], nonEmpty(m[3]))
	}},
	{pattern(`fail: (.*)`), func(m []string, _ func(string) []string) *Failure {
		return Errorf("fail", "Failed", "%s", m[1])
	}},
}

// refine rewrites a message of the interpreter or of a builtin in the form of
// our own.
func refine(msg string, stack starlark.CallStack, source func(string) *File) *Failure {
	params := func(function string) []string {
		if len(stack) == 0 || source == nil {
			return nil
		}
		return parametersOf(stack.At(0), function, source)
	}
	for _, r := range refinements {
		if m := r.pattern.FindStringSubmatch(msg); m != nil {
			return r.rewrite(m, params)
		}
	}
	return Errorf("evaluation-failed", "Evaluation failed", "%s", sentence(msg))
}

// parametersOf are the names of the parameters of the function in a frame.
func parametersOf(fr starlark.CallFrame, function string, source func(string) *File) []string {
	f := source(fr.Pos.Filename())
	if f == nil {
		return nil
	}
	i := f.StatementAt(int(fr.Pos.Line))
	if i < 0 {
		return nil
	}
	var names []string
	for _, stmt := range f.Statements[i].Stmts() {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if def, ok := n.(*syntax.DefStmt); ok && def.Name.Name == function {
				names = nil
				for _, p := range parameters(f.Path, def.Params, Doc{}) {
					if p.Kind == Ordinary || p.Kind == KeywordOnly {
						names = append(names, p.Name)
					}
				}
			}
			return true
		})
	}
	return names
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// The constructors below are shared by the evaluation and the static check, so
// that both say the same.

func unknownParameter(function, name string, known []string) *Failure {
	f := Errorf("unknown-parameter", "Unknown parameter", "%s has no parameter %q.", function, name)
	f.Keyword, f.Hint = name, didYouMean(diag.Nearest(name, known))
	if f.Hint == "" && strings.HasPrefix(function, "sst.") && slices.Contains(known, "defaults") {
		f.Hint = fmt.Sprintf("Keywords of its functions go into defaults = {%q: ...}.", name)
	}
	return f
}

func duplicateParameter(function, name string) *Failure {
	f := Errorf("duplicate-parameter", "Parameter given twice", "%s takes %q once.", function, name)
	f.Keyword = name
	return f
}

func missingParameters(function string, names []string) *Failure {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return Errorf("missing-parameter", "Missing parameter", "%s needs %s.", function, enumerate(quoted))
}

// tooManyPositionals: named says that there are parameters which must be given by name.
func tooManyPositionals(function string, most, given int, named bool) *Failure {
	f := Errorf("too-many-arguments", "Too many positional arguments", "%s takes %s by position, not %d.", function, counted(strconv.Itoa(most), "argument"), given)
	if most == 0 {
		f.Detail = fmt.Sprintf("%s takes no arguments by position.", function)
	}
	if named {
		f.Hint = "Give the others by name."
	}
	f.Positional = most + 1
	return f
}

func unknownAttribute(kind, name string, known []string) *Failure {
	f := Errorf("unknown-attribute", "Unknown attribute", "%s has no attribute %q.", kind, name)
	f.Hint = didYouMean(diag.Nearest(name, known))
	return f
}

func unknownName(name string, known []string) *Failure {
	f := Errorf("unknown-name", "Unknown name", "There is no %q here.", name)
	if hint := foreign[name]; hint != "" {
		f.Hint = hint
	} else {
		f.Hint = didYouMean(diag.Nearest(name, known))
	}
	return f
}

// indexOutOfRange: kind is that of the sequence, which has count elements.
func indexOutOfRange(kind, index, count string) *Failure {
	f := Errorf("index-out-of-range", "No such element", "There is no [%s]: the %s is empty.", index, kind)
	if n, _ := strconv.Atoi(count); n == 1 {
		f.Detail = fmt.Sprintf("There is no [%s]: the %s has 1 element, [0].", index, kind)
	} else if n > 1 {
		f.Detail = fmt.Sprintf("There is no [%s]: the %s has %s elements, [0] to [%d].", index, kind, count, n-1)
	}
	return f
}

func unknownSymbol(name, module string, known []string) *Failure {
	f := Errorf("unknown-symbol", "Unknown symbol", "%s defines no %q.", module, name)
	f.Value, f.Hint = name, didYouMean(diag.Nearest(name, known))
	return f
}

// foreign are names of other languages.
var foreign = map[string]string{
	"true": "Write True.", "false": "Write False.", "null": "Write None.", "nil": "Write None.", "undefined": "Write None.",
	"isinstance": `Write type(x) == "string".`, "assert": `Write "if not condition: fail("message")".`, "open": `Write read("path").`,
	"os": `Write env("NAME") for the environment, read("path") for files.`, "sum": "Add in a for loop.", "map": "Write [f(x) for x in xs].",
	"filter": "Write [x for x in xs if f(x)].", "object": "Write struct(name = value).", "frozenset": "Write set(xs).",
	"require": `Write load("./file.star", "name").`, "process": `Write env("NAME").`, "console": "Write print(value).",
	"super": "Starlark has no classes.", "self": "Starlark has no classes.", "round": "Write math.round(x).", "pow": "Write math.pow(x, y).",
	"globals": "", "Exception": `Write fail("message").`,
}

func enumerate(items []string) string {
	if n := len(items); n > 1 {
		return strings.Join(items[:n-1], ", ") + " and " + items[n-1]
	}
	return strings.Join(items, "")
}

func counted(n, noun string) string {
	if n == "1" {
		return "1 " + noun
	}
	return n + " " + noun + "s"
}

var (
	undefinedName = regexp.MustCompile(`^undefined: (\S+)(?: \(did you mean (\S+)\?\))?$`)
	repeatedName  = regexp.MustCompile(`^keyword argument "(\w+)" is repeated$`)
)

// diagnoseResolve turns an error of the resolver into a diagnostic.
func diagnoseResolve(e resolve.Error, source func(string) *File) *diag.Diagnostic {
	path := e.Pos.Filename()
	at := position(path, e.Pos)
	span := diag.Point(at)
	if f := source(path); f != nil {
		if n := f.nodeAt(at); n != nil {
			if id, ok := n.(*syntax.Ident); ok {
				span = nodeSpan(path, id)
			}
		}
	}
	if m := undefinedName.FindStringSubmatch(e.Msg); m != nil {
		f := unknownName(m[1], nonEmpty(m[2]))
		return f.diagnostic(spanOf(path, e.Pos, m[1]))
	}
	if m := repeatedName.FindStringSubmatch(e.Msg); m != nil {
		f := duplicateParameter("A call", m[1])
		return f.diagnostic(spanOf(path, e.Pos, m[1]))
	}
	d := &diag.Diagnostic{Code: "misplaced", Summary: "Not allowed here", Detail: sentence(e.Msg), Span: span}
	switch {
	case strings.Contains(e.Msg, "while loops"):
		return notInStarlark("while", spanOf(path, e.Pos, "while"))
	case strings.HasPrefix(e.Msg, "load statement within"):
		d.Detail, d.Hint = "load stands at the top level of a file, outside of functions, loops and conditions.", ""
	case strings.HasPrefix(e.Msg, "return statement not within"):
		d.Detail = "return stands inside a function."
	case strings.HasPrefix(e.Msg, "positional argument may not follow named"):
		d.Detail = "Positional arguments come before those given by name."
	}
	return d
}
