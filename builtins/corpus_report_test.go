package builtins

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// failuresFile lists what does not come out as Node has it, and why.
const failuresFile = "testdata/corpus/failures.md"

// fault says of whom a failure is.
type fault string

const (
	ofTranslation fault = "translation"
	ofLanguage    fault = "language" // what Starlark or sst leaves out on purpose
	ofOurs        fault = "ours"
)

// reason is why an example does not come out as Node has it. What no reason fits is ours.
type reason struct {
	fault   fault
	text    string
	applies func(e *example, o outcome) bool
}

func detail(expr string) func(*example, outcome) bool {
	re := regexp.MustCompile(expr)
	return func(_ *example, o outcome) bool { return re.MatchString(o.Detail) }
}

func python(expr string) func(*example, outcome) bool {
	re := regexp.MustCompile(expr)
	return func(e *example, _ outcome) bool { return re.MatchString(e.Python) }
}

// unparsed are the reasons why a translation is no Starlark, of which only the numbers are listed.
var unparsed = []reason{
	{ofTranslation, "there is none", detail(`^not translated$`)},
	{ofLanguage, "it has classes", python(`(?m)^\s*class \w+`)},
	{ofTranslation, "it uses names that only the hidden part of the example defines", detail(`undefined: `)},
	{ofLanguage, "it has f-strings", python(`\bf"`)},
	{ofTranslation, "it is no Python either (the parser of Python 3.11 refuses it too)", func(*example, outcome) bool { return true }},
}

// reasons are those of examples that no mend brings to what Node has.
var reasons = []reason{
	{ofTranslation, "The example uses what the metadata of the CDK does not have, and so no other language than TypeScript.", func(_ *example, o outcome) bool { return notInMetadata(o) }},
	{ofTranslation, "The text of a function has lost its indentation; the templates are the same but for white space.", func(_ *example, o outcome) bool { return o.Spaces }},
	{ofTranslation, "Read by hand: the example is a fragment, `- 'ABCD|CDEF'`, which JavaScript evaluates to NaN.", python(`^-"[^"]*"\s*$`)},
	{ofTranslation, "Read by hand: the example reads beyond the end of a list, which is `undefined` in JavaScript.", python(`alb\.listeners\[0\]`)},
	{ofTranslation, "Read by hand: `?.` became `.`, on a property that is not set.", python(`bucket\.policy\.apply_removal_policy`)},
}

func reasonFor(list []reason, e *example, o outcome) (fault, string) {
	for _, r := range list {
		if r.applies(e, o) {
			return r.fault, r.text
		}
	}
	return ofOurs, "Not explained."
}

// report counts outcomes and groups the failures.
type report struct {
	examples, meant, parsed, evaluated       int
	meantTemplates, templates, sameTemplates int
	theirs, theirTemplates                   int // of the failures, those of the translation or the language
	mended                                   int // of the failures, those that come out the same when the translator's fault is undone
	groups                                   []*group
}

type group struct {
	fault  fault
	text   string
	count  int
	listed []string
}

func newReport(list []*example, outcomes []outcome) *report {
	r := &report{examples: len(list)}
	for i, o := range outcomes {
		if o.Verdict == notMeant {
			continue
		}
		e := list[i]
		r.meant++
		if !o.Empty {
			r.meantTemplates++
		}
		if o.Verdict == untranslated {
			fault, text := reasonFor(unparsed, e, o)
			r.group(fault, "No Starlark: "+text+".").count++
			continue
		}
		r.parsed++
		if !o.Empty {
			r.templates++
		}
		switch o.Verdict {
		case same:
			r.evaluated++
			if !o.Empty {
				r.sameTemplates++
			}
			continue
		case different:
			r.evaluated++
		}
		fault, text := reasonFor(reasons, e, o)
		if len(o.Mends) > 0 {
			fault, text = ofTranslation, strings.Join(o.Mends, " ")
			r.mended++
		}
		if fault != ofOurs {
			if o.Verdict != different {
				r.theirs++
			}
			if !o.Empty {
				r.theirTemplates++
			}
		}
		g := r.group(fault, text)
		g.count++
		g.listed = append(g.listed, fmt.Sprintf("| `%s` | %s | %s | %s |", o.ID[:16], strings.TrimPrefix(e.Of, "aws-cdk-lib."), o.Verdict, cell(o.Detail)))
	}
	slices.SortStableFunc(r.groups, func(a, b *group) int { return b.count - a.count })
	return r
}

func (r *report) group(fault fault, text string) *group {
	for _, g := range r.groups {
		if g.fault == fault && g.text == text {
			return g
		}
	}
	g := &group{fault: fault, text: text}
	r.groups = append(r.groups, g)
	return g
}

func cell(text string) string {
	text = strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text)
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "..."
	}
	return text
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
}

// summary is the table of numbers.
func (r *report) summary() string {
	var b strings.Builder
	row := func(what string, n int, share string) { fmt.Fprintf(&b, "| %s | %d | %s |\n", what, n, share) }
	b.WriteString("| | examples | |\n|---|---|---|\n")
	row("in the archive", r.examples, "")
	row("Node evaluates them", r.meant, "")
	row("and makes a template that is not empty", r.meantTemplates, "")
	row("the translation parses and resolves as Starlark", r.parsed, "100 %")
	row("it evaluates", r.evaluated, percent(r.evaluated, r.parsed))
	row("it evaluates, faults of the translation aside", r.evaluated, percent(r.evaluated, r.parsed-r.theirs))
	row("of these, with a template that is not empty", r.templates, "100 %")
	row("the templates are the same", r.sameTemplates, percent(r.sameTemplates, r.templates))
	row("the templates are the same, faults of the translation aside", r.sameTemplates, percent(r.sameTemplates, r.templates-r.theirTemplates))
	row("failures that come out the same once the fault of the translation is undone", r.mended, "")
	return b.String()
}

// markdown is the whole table.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# The CDK's documentation, evaluated\n\nWritten by `make corpus`: each example of aws-cdk-lib's documentation in Node, and its translation to Python as Starlark.\n\n" +
		"Whose fault a failure is, is not guessed from its message: a rule undoes one known fault of the translator, knowing nothing of the example, and the program " +
		"runs again. What then makes the template that Node makes is a fault of the translation; what does not, and has no reason that was read by hand, is ours. " +
		"Of each class 15 examples were read as well, or all where there are fewer.\n\n")
	b.WriteString(r.summary())
	b.WriteString("\n## Failures\n\n| fault of | | examples |\n|---|---|---|\n")
	for _, g := range r.groups {
		fmt.Fprintf(&b, "| %s | %s | %d |\n", g.fault, g.text, g.count)
	}
	for _, g := range r.groups {
		if len(g.listed) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\nFault of: %s.\n\n| example | documents | fails at | |\n|---|---|---|---|\n%s\n", g.text, g.fault, strings.Join(g.listed, "\n"))
	}
	return b.String()
}

func (r *report) write() error { return os.WriteFile(failuresFile, []byte(r.markdown()), 0o644) }
